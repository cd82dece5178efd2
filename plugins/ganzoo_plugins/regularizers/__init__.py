"""Regularizers: penalties on networks, and projections of their weights."""
