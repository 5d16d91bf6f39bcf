"""The placement of a model on this device: variant, execution provider and threads, and how they are measured."""
