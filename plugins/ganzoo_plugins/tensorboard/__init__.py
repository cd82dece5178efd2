"""Writes TensorBoard events beside a run."""
