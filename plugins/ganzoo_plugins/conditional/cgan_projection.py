"""The GAN with a projection discriminator: the condition enters by an inner product."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import AdversarialTrainer, Attributes, Discriminator, Generator, Image, Label, Latent, Signature
from ganzoo_plugins.conditional.cgan import SHAPES
from ganzoo_plugins.networks.condition import OneHot
from ganzoo_plugins.networks.conditional_norm import ConditionalBatchNorm2d
from ganzoo_plugins.networks.layers import output_activation, same_conv2d
from ganzoo_plugins.networks.projection import ProjectionDiscriminator
from ganzoo_plugins.networks.resnet import SNGANConfig, UpBlock, residual_features, tapered
from ganzoo_plugins.networks.sizes import num_downsamples

__all__ = ["ConditionalResidualGenerator", "ProjectionConfig", "ProjectionGAN"]


class ProjectionConfig(SNGANConfig):
    """Settings of the projection GAN: those of ``sngan``, and where the generator is given the condition."""

    width: int = Field(32, ge=1, description="channels of the generator's first map")
    discriminator_width: int = Field(32, ge=1, description="channels of the discriminator's last map")
    latent_dim: int = Field(64, ge=1, description="size of the latent")
    join_latent: bool = Field(
        True, description="join the condition to the latent too; the paper's generator has it in its batch norms alone"
    )


class ConditionalResidualGenerator(Generator):
    """Latents [N, L] and conditions to images [N, C, H, W], through residual blocks that double the size."""

    def __init__(self, config: ProjectionConfig, sample: Image, conditions: Sequence[Label | Attributes]) -> None:
        super().__init__(Signature((Latent((config.latent_dim,)), *conditions), sample))
        count, (height, breadth) = num_downsamples(sample)
        widths = tapered(config.width, count + 1) if config.taper else [config.width] * (count + 1)
        start = (config.width, height, breadth)
        self.join_latent = config.join_latent
        self.encode = OneHot(conditions)
        inputs = config.latent_dim + (self.encode.size if config.join_latent else 0)
        self.stem = nn.Sequential(nn.Linear(inputs, prod(start)), nn.Unflatten(1, start))
        self.blocks = nn.ModuleList(
            UpBlock(before, after, lambda channels: ConditionalBatchNorm2d(channels, self.encode.size))
            for before, after in pairwise(widths)
        )
        self.head = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            same_conv2d(widths[-1], sample.channels, 3),
            output_activation(sample),
        )

    def forward(self, z: Tensor, *conditions: Tensor) -> Tensor:
        code = self.encode(*conditions)
        maps = self.stem(torch.cat([z, code], 1) if self.join_latent else z)
        for block in self.blocks:
            maps = block(maps, code)
        return self.head(maps)


class ProjectionGAN(AdversarialTrainer[ProjectionConfig]):
    """The projection discriminator against a generator with conditional batch norm (cGANs with Projection
    Discriminator, arXiv:1802.05637).

    Residual blocks and spectral norm as in ``sngan``. Several labels and attribute vectors each add a projection, and
    each its part of the batch norms' weights and biases. Unlike the paper's, the generator gets the condition together
    with the latent as well (``join_latent``): without that, networks this small learn the condition late. Images must
    have sizes that ``sngan`` takes. The preset ``shapes`` draws shapes by all their attributes, with R1 in place of
    spectral norm.
    """

    conditional = True
    defaults = {
        "steps": 9_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "hinge"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "shapes": {
            **SHAPES,
            "loss": {"name": "non_saturating"},
            "regularizer": {"r1": {"weight": 0.5, "interval": 4}},
            "model": {"spectral_norm": False, "discriminator_lr": 2e-3, "optimizer": {"lr": 2e-3}},
        }
    }

    def build_generator(self, sample: Image) -> Generator:
        return ConditionalResidualGenerator(self.config, sample, self.conditions)

    def build_discriminator(self, sample: Image) -> Discriminator:
        config = self.config
        width = config.discriminator_width
        features = residual_features(sample, width, taper=config.taper)
        return ProjectionDiscriminator(features, width, sample, self.conditions)
