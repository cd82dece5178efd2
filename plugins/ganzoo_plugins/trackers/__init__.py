"""Trackers: what a training logs, shown elsewhere."""
