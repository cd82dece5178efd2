"""Trained models, one folder each: recipe, card, metrics, grid of samples and .onnx."""
