"""Metrics on samples."""
