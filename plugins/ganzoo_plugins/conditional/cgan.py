"""The conditional GAN: both players are given the condition beside their input."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ganzoo import (
    AdversarialTrainer,
    Attributes,
    Discriminator,
    Generator,
    Image,
    Label,
    Latent,
    Scores,
    Signature,
    TrainerConfig,
)
from ganzoo.fields import Field as SampleField
from ganzoo_plugins.conditional.condition import JoinedGenerator, OneHot, planes
from ganzoo_plugins.conv.blocks import image_only
from ganzoo_plugins.conv.dcgan import DCGANConfig, DCGANDiscriminator, DCGANGenerator

__all__ = ["SHAPES", "ConditionalGAN", "PlanesDiscriminator", "conditional_generator"]

SHAPES: Mapping[str, Any] = {
    "steps": 10_000,
    "data": {"name": "shapes", "condition": "attributes", "size": 30_000},
    "regularizer": {"r1": {"weight": 1.5, "interval": 4}},
    "model": {"batch_norm": "generator", "discriminator_lr": 2e-3, "optimizer": {"lr": 4e-3}},
}
"""Drawn shapes by all their attributes: what ``dcgan``'s networks, told of them, take to draw corners at any angle."""


class PlanesDiscriminator(Discriminator):
    """Images and conditions to scores: the condition's code lies beside the image as constant planes."""

    def __init__(self, width: int, batch_norm: bool, sample: Image, conditions: Sequence[Label | Attributes]) -> None:
        super().__init__(Signature((sample, *conditions), Scores()))
        self.encode = OneHot(conditions)
        self.inner = DCGANDiscriminator(width, batch_norm, replace(sample, channels=sample.channels + self.encode.size))

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """Map [N, C, H, W] and the conditions to scores [N]."""
        return self.inner(torch.cat([x, planes(self.encode(*conditions), x)], 1))


class ConditionalGAN(AdversarialTrainer):
    """The condition is joined to the latent and to the image (Conditional Generative Adversarial Nets,
    arXiv:1411.1784, eq. 2).

    Labels go in as one-hot vectors, attributes as they are. The paper's players are multi-layer perceptrons with hidden
    layers for the condition alone; these are the convolutional networks of ``dcgan``, as everyone trains it today, and
    the discriminator sees the condition as constant planes beside the image's channels. Images of the sizes that
    ``dcgan`` takes. The preset ``shapes`` draws shapes of any kind, hue, size, place and rotation by their attributes.
    """

    Config: ClassVar[type[TrainerConfig]] = DCGANConfig
    config: DCGANConfig
    conditional: ClassVar[bool] = True
    defaults: ClassVar[Mapping[str, Any]] = {
        "steps": 14_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "non_saturating"},
        "data": {"name": "mnist5k"},
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"shapes": SHAPES}

    def build_generator(self, sample: SampleField) -> Generator:
        """Return the generator."""
        return conditional_generator(self.config, image_only("cgan", sample), self.conditions)

    def build_discriminator(self, sample: SampleField) -> Discriminator:
        """Return the discriminator."""
        config = self.config
        batch_norm = config.batch_norm in ("both", "discriminator")
        return PlanesDiscriminator(config.width, batch_norm, image_only("cgan", sample), self.conditions)


def conditional_generator(
    config: DCGANConfig, sample: Image, conditions: Sequence[Label | Attributes]
) -> JoinedGenerator:
    """Return the generator of ``dcgan``, its latent joined to the condition's one-hot code."""
    batch_norm = config.batch_norm in ("both", "generator")
    return JoinedGenerator(
        Latent((config.latent_dim,), config.latent),
        conditions,
        OneHot(conditions),
        lambda size: DCGANGenerator(Latent((size,), config.latent), config.width, batch_norm, sample),
    )
