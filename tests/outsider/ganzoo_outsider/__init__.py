"""A loss, models, a command and an observer for ganzoo."""
