"""ONNX export, and the runtime that needs numpy and onnxruntime alone."""
