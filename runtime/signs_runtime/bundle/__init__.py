"""The bundle's format: a folder, its manifest, its golden pictures, and the metadata of its ONNX files."""
