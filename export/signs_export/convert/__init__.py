"""Keras to ONNX: the graph, its names, and each patch of tf2onnx with its reason."""
