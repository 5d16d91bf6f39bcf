"""Classifiers of every make that an export meets, put through the whole gate: see `python -m tests.zoo --help`."""
