"""onnxruntime and what lies below it: sessions, their kept graphs, provider libraries, the CPU."""
