"""Image to image: CycleGAN and its kin, pix2pix, inpainting."""
