"""How good a classifier is, on pictures as they are and on changed ones."""
