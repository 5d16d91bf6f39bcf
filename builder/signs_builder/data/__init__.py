"""Labelled pictures: where they come from, how they are held, and how an image of one is changed."""
