"""From a Keras model to a sealed bundle, proved against Keras."""
