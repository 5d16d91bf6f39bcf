"""Measures a classifier, on unchanged and on changed pictures."""
