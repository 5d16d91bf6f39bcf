"""Measures on labelled pictures what a model was trained on: scaling, colours, reading, and the order of its labels."""
