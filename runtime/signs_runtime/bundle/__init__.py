"""The bundle's format: a folder, its manifest, its golden pictures, and what an ONNX file says of itself."""
