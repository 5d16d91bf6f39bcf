"""Compares other runtimes to this project's, with the same weights: speed, start, memory and labels."""
