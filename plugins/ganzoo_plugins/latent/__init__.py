"""Latent editing: walks between latents, directions, and the commands for them."""
