"""The plugins that come with ganzoo: one folder a family, one file a GAN."""
