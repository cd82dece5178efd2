"""Convolutional GANs."""
