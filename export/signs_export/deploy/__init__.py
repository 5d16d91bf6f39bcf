"""Prepares bundles for devices, each with everything that it needs there."""
