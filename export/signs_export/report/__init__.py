"""Writes reports: for people, for machines and for CI systems."""
