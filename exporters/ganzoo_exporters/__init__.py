"""ONNX export with the command for it, a web page that samples in a browser, and repositories for Triton."""
