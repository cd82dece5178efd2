"""Networks, layers and encodings of conditions that several families of GANs share."""
