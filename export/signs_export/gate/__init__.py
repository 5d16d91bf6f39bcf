"""The gate: Keras's answers to the pictures, and the checks that an export gives the same answers."""
