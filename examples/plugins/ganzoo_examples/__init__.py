"""Losses, models, data and more for ganzoo, by a third party: a sample of each kind."""
