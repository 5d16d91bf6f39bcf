"""The Keras model as it was opened: its input, its outputs and its scaling."""
