"""Trained models, one folder each: recipe, card, metrics, sample sheet and .onnx."""
