"""A loss, a model and an observer for ganzoo."""
