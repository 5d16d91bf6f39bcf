"""The version of this runtime, alone, so that whatever is kept by version imports nothing else."""

__version__ = "0.1.0"
