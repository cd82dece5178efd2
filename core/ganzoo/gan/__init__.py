"""What a GAN is made of: networks, losses, regularizers, and the trainer with its phases."""
