"""Language models: by maximum likelihood, and as generators of GANs."""
