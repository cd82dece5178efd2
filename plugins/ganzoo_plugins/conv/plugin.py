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
    ]
