"""Registers the fully connected GANs."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the fully connected GANs."""
    return [
        Spec(
            "model",
            "gan_fc",
            "Fully connected GAN for images or points",
            "ganzoo_plugins.fc.gan_fc:FullyConnectedGAN",
            "Generative Adversarial Networks, arXiv:1406.2661",
        ),
    ]
