"""onnxruntime and what it depends on: sessions, cached graphs, the providers' libraries, the CPU."""
