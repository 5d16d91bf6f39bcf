"""The verdicts for people, for machines and for CI systems."""
