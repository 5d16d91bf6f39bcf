"""From pictures to a trained Keras model."""
