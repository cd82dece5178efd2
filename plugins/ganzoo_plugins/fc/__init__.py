"""Fully connected GANs, for images and for points."""
