"""Telling generated images from real ones: detectors, their training, and the command."""
