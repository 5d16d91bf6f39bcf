"""ResNet-50, its initial weights, and files with Keras models."""
