"""Labelled pictures: their sources, their data structure, and changes to their images."""
