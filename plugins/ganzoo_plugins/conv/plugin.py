"""Registers the convolutional GANs."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the convolutional GANs."""
    return [
        Spec(
            "model",
            "wgan_gp_conv",
            "Convolutional WGAN-GP for images of any size that is a multiple of 4",
            "ganzoo_plugins.conv.wgan_gp_conv:ConvolutionalWGAN",
            "Improved Training of Wasserstein GANs, arXiv:1704.00028",
        ),
        Spec(
            "model",
            "dcgan",
            "DCGAN: transposed convolutions and batch norm, for images from 16x16",
            "ganzoo_plugins.conv.dcgan:DCGAN",
            "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks, "
            "arXiv:1511.06434",
        ),
        Spec(
            "model",
            "lsgan",
            "DCGAN with the least squares loss",
            "ganzoo_plugins.conv.dcgan:DCGAN",
            "Least Squares Generative Adversarial Networks, arXiv:1611.04076",
            defaults={"loss": {"name": "lsgan"}},
        ),
        Spec(
            "model",
            "sngan",
            "SNGAN: residual networks under spectral norm, for images from 16x16",
            "ganzoo_plugins.conv.sngan:SNGAN",
            "Spectral Normalization for Generative Adversarial Networks, arXiv:1802.05957",
        ),
        Spec(
            "model",
            "r3gan",
            "R3GAN: residual networks without normalization, relativistic loss, R1 and R2, for images from 16x16",
            "ganzoo_plugins.conv.r3gan:R3GAN",
            "The GAN is dead; long live the GAN! A Modern GAN Baseline, arXiv:2501.05441",
        ),
        Spec(
            "model",
            "began",
            "BEGAN: the discriminator is an autoencoder, its score minus its error, for images from 16x16",
            "ganzoo_plugins.conv.began:BEGAN",
            "BEGAN: Boundary Equilibrium Generative Adversarial Networks, arXiv:1703.10717",
        ),
        Spec(
            "model",
            "lightweight_gan",
            "FastGAN as lightweight-gan has it: skip-layer excitation, a discriminator that reconstructs, from 32x32",
            "ganzoo_plugins.conv.lightweight_gan:LightweightGAN",
            "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis, arXiv:2101.04775",
        ),
        Spec(
            "importer",
            "lightweight-gan",
            "Weights of lightweight-gan (.pt)",
            "ganzoo_plugins.conv.lightweight_importer:lightweight_gan",
        ),
        Spec(
            "importer",
            "r3gan",
            "R3GAN's weights, as the authors' code writes them (.pkl)",
            "ganzoo_plugins.conv.importers:r3gan",
        ),
    ]
