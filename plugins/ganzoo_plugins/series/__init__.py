"""GANs of series."""
