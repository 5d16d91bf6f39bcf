"""Holds the version of this runtime alone, so that code that needs only the version imports nothing else."""

__version__ = "0.1.0"
