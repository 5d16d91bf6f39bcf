"""ResNet-50, the weights it may start from, and the files that hold Keras models."""
