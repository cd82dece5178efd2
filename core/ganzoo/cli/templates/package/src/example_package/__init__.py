"""The EXAMPLE_SAID example_key for ganzoo."""
