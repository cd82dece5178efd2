"""BigGAN: a class embedding that all layers share, and a part of the latent for each block."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Attributes,
    Discriminator,
    Generator,
    Image,
    Label,
    Latent,
    OptimizerConfig,
    Signature,
    normalize_spectrum,
)
from ganzoo_plugins.networks.biggan import attention_layers, attentive_features, generator_widths
from ganzoo_plugins.networks.biggan_deep import DeepUpBlocks, deep_features
from ganzoo_plugins.networks.condition import Embedding
from ganzoo_plugins.networks.conditional_norm import SharedBatchNorm2d, compute_standing_statistics
from ganzoo_plugins.networks.layers import output_activation, same_conv2d
from ganzoo_plugins.networks.projection import ProjectionDiscriminator
from ganzoo_plugins.networks.resnet import UpBlock

__all__ = ["BigGAN", "BigGANConfig", "BigGANGenerator"]


class BigGANConfig(AdversarialConfig):
    """Settings of BigGAN."""

    width: int = Field(
        16, ge=1, description="channels that all numbers of channels are multiples of: 4 times at 32x32; the paper's ch"
    )
    chunk_dim: int = Field(
        20,
        ge=1,
        description="numbers of the latent for each block and the first layer: 80 at 32x32, 120 at 128x128; with deep "
        "all of them get the same",
    )
    embedding_dim: int = Field(128, ge=1, description="size of the shared embedding of a label or attribute vector")
    attention: int = Field(
        16, ge=0, description="longer side of the maps with self-attention, or up to half of it; 0: none has it"
    )
    deep: bool = Field(
        False, description="BigGAN-deep: two bottleneck blocks for each size, and the whole latent for every one"
    )
    standing: int = Field(
        16, ge=0, description="batches of 64 that batch norm's statistics of the averaged weights are of; 0: training's"
    )
    truncation: Literal["resampled", "scaled"] = Field(
        "resampled", description="what a truncation does with the latent's numbers; scaled: multiplies them all"
    )
    n_critic: int | None = Field(1, ge=1, description="discriminator steps a generator step; 2 in the paper")
    spectral_norm: bool = Field(True, description="divide the weights of both networks by their spectral norm")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=5e-4, betas=(0.0, 0.999)), description="optimizer of both")
    discriminator_lr: float | None = Field(1e-3, gt=0, description="learning rate of the discriminator")


class BigGANGenerator(Generator):
    """Latents [N, L] and conditions to images [N, C, H, W].

    The latent is split into parts (hierarchical latents): the first goes through a linear layer to the start map, and
    each of the others to one residual block, whose batch norms are given it behind the embedding of the condition. In
    BigGAN-deep all layers are given the whole latent, and the embedding behind it.
    """

    def __init__(self, config: BigGANConfig, sample: Image, conditions: Sequence[Label | Attributes]) -> None:
        widths, (height, width) = generator_widths(sample, config.width)
        start = (widths[0], height, width)
        parts = 1 if config.deep else len(widths)
        latent = Latent((config.chunk_dim * parts,), truncation=config.truncation)
        super().__init__(Signature((latent, *conditions), sample))
        self.deep = config.deep
        self.shared = Embedding(conditions, config.embedding_dim)
        size = self.shared.size + config.chunk_dim
        first = size if config.deep else config.chunk_dim
        self.stem = nn.Sequential(nn.Linear(first, prod(start)), nn.Unflatten(1, start))
        block = DeepUpBlocks if config.deep else UpBlock
        self.blocks = nn.ModuleList(
            block(before, after, lambda channels: SharedBatchNorm2d(channels, size))
            for before, after in pairwise(widths)
        )
        self.attention = attention_layers(sample, widths, config.attention)
        self.head = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            same_conv2d(widths[-1], sample.channels, 3),
            output_activation(sample),
        )

    def forward(self, z: Tensor, *conditions: Tensor) -> Tensor:
        embedded = self.shared(*conditions)
        if self.deep:
            first = torch.cat([z, embedded], 1)
            codes = [first] * len(self.blocks)
        else:
            first, *others = z.chunk(len(self.blocks) + 1, 1)
            codes = [torch.cat([embedded, part], 1) for part in others]
        maps = self.stem(first)
        for block, attention, code in zip(self.blocks, self.attention, codes, strict=True):
            maps = attention(block(maps, code))
        return self.head(maps)


class BigGAN(AdversarialTrainer[BigGANConfig]):
    """Large Scale GAN Training for High Fidelity Natural Image Synthesis (arXiv:1809.11096).

    Residual networks with a shared class embedding, hierarchical latents, self-attention and projection; spectral norm
    in both, orthogonal initialization and, of the generator's filters, orthogonal regularization; the hinge loss.
    Channels follow the size of the images as in the paper's and the authors' tables, 32x32 to 512x512, and with 1000
    classes at 128x128 the preset ``paper128`` has their 70.4 and 88.0 million parameters. ``model.deep`` is the paper's
    BigGAN-deep (appendix B), at 128x128 with ``width`` and ``chunk_dim`` 128 of 50.2 and 34.6 million.

    ``paper128`` has the paper's batches of 2,048 as 8 of 256, two discriminator steps, and its optimizer; it is for a
    folder of images by class. Its average is warmed up, where the paper's starts after 20,000 steps. The defaults are
    narrow, with higher rates and one discriminator step, for 32x32 on a CPU; ``shapes`` draws shapes by kind and hue.

    ``--truncation`` is the paper's truncation trick: numbers of the latent beyond that threshold are drawn again, by
    the quantiles of the truncated normal distribution; a run and its file say so to whatever samples from them. With
    ``model.truncation=scaled`` all numbers are multiplied, and stay normal. Before it is sampled or saved, the averaged
    generator's batch norm gets standing statistics, as in the paper; here always of latents that are not truncated,
    since a file is for any truncation.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows, with labels or attributes.
    """

    conditional = True
    defaults = {
        "steps": 4_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "hinge"},
        "regularizer": {"orthogonal": {"weight": 1e-4}},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "shapes": {"data": {"name": "shapes", "condition": "classes", "size": 30_000}},
        "paper128": {
            "steps": 150_000,
            "batch_size": 256,
            "accumulate": 8,
            "ema": 0.9999,
            "lr_schedule": "constant",
            "lr_warmup": 0,
            "model": {
                "width": 96,
                "attention": 64,
                "n_critic": 2,
                "optimizer": {"name": "adam", "lr": 5e-5, "betas": (0.0, 0.999)},
                "discriminator_lr": 2e-4,
            },
        },
    }

    def build_generator(self, sample: Image) -> Generator:
        generator = BigGANGenerator(self.config, sample, self.conditions).apply(_orthogonal)
        if self.config.spectral_norm:
            # Not the shared embedding: normalized it would, as the authors saw, cripple the generator.
            normalize_spectrum(generator, apart=(Embedding,))
        return generator

    def settle(self, averages: Mapping[str, nn.Module]) -> None:
        """Compute batch norm's standing statistics."""
        if self.config.standing:
            generator = averages["generator"]
            assert isinstance(generator, BigGANGenerator)
            compute_standing_statistics(generator, self.config.standing)

    def build_discriminator(self, sample: Image) -> Discriminator:
        features_of = deep_features if self.config.deep else attentive_features
        features, width = features_of(sample, self.config.width, self.config.attention)
        return ProjectionDiscriminator(features, width, sample, self.conditions).apply(_orthogonal)


def _orthogonal(module: nn.Module) -> None:
    """Draw weights with perpendicular rows or columns (arXiv:1312.6120)."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
        nn.init.orthogonal_(module.weight)
