"""The conditional GAN: generator and discriminator are both given the condition."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ganzoo import AdversarialTrainer, Attributes, Discriminator, Generator, Image, Label, Latent, Scores, Signature
from ganzoo_plugins.networks.condition import JoinedGenerator, OneHot, planes
from ganzoo_plugins.networks.dcgan import DCGANConfig, DCGANDiscriminator, DCGANGenerator

__all__ = ["SHAPES", "ConditionalGAN", "PlanesDiscriminator", "conditional_generator"]

SHAPES: Mapping[str, Any] = {
    "steps": 10_000,
    "data": {"name": "shapes", "condition": "attributes", "size": 30_000},
    "regularizer": {"r1": {"weight": 1.5, "interval": 4}},
    "model": {"batch_norm": "generator", "discriminator_lr": 2e-3, "optimizer": {"lr": 4e-3}},
}
"""Preset for drawn shapes with all their attributes: what ``dcgan``'s networks need to draw corners at any angle."""


class PlanesDiscriminator(Discriminator):
    """Images [N, C, H, W] and conditions to scores [N].

    The condition's code is appended to the image's channels as constant planes.
    """

    def __init__(self, width: int, batch_norm: bool, sample: Image, conditions: Sequence[Label | Attributes]) -> None:
        super().__init__(Signature((sample, *conditions), Scores()))
        self.encode = OneHot(conditions)
        self.inner = DCGANDiscriminator(width, batch_norm, replace(sample, channels=sample.channels + self.encode.size))

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        # Planes, since the first layer is a convolution: so every place of the image sees the condition.
        return self.inner(torch.cat([x, planes(self.encode(*conditions), x)], 1))


class ConditionalGAN(AdversarialTrainer[DCGANConfig]):
    """The condition is joined to the latent and to the image (Conditional Generative Adversarial Nets,
    arXiv:1411.1784, eq. 2).

    Labels go in as one-hot vectors, attributes as they are. The paper's networks are multi-layer perceptrons with
    separate hidden layers for the condition. These are the convolutional networks of ``dcgan``, as is usual today, and
    the discriminator sees the condition as constant planes beside the image's channels. Images must have sizes that
    ``dcgan`` takes. The preset ``shapes`` draws shapes of any kind, hue, size, place and rotation by their attributes.
    """

    conditional = True
    defaults = {
        "steps": 14_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "non_saturating"},
        "data": {"name": "mnist5k"},
    }
    presets = {"shapes": SHAPES}

    def build_generator(self, sample: Image) -> Generator:
        return conditional_generator(self.config, sample, self.conditions)

    def build_discriminator(self, sample: Image) -> Discriminator:
        config = self.config
        batch_norm = config.batch_norm in ("both", "discriminator")
        return PlanesDiscriminator(config.width, batch_norm, sample, self.conditions)


def conditional_generator(
    config: DCGANConfig, sample: Image, conditions: Sequence[Label | Attributes | Latent]
) -> JoinedGenerator:
    """Return the generator of ``dcgan``, its latent joined to the condition's one-hot code."""
    batch_norm = config.batch_norm in ("both", "generator")
    return JoinedGenerator(
        Latent((config.latent_dim,), config.latent),
        conditions,
        OneHot(conditions),
        lambda size: DCGANGenerator(Latent((size,), config.latent), config.width, batch_norm, sample),
    )
