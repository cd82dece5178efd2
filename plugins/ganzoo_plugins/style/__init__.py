"""GANs with style-based and progressively grown networks."""
