"""R3GAN's networks: residual blocks of grouped convolutions without any normalization, bilinear resampling."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganzoo import (
    AdversarialConfig,
    Attributes,
    Discriminator,
    Generator,
    Image,
    Label,
    Latent,
    OptimizerConfig,
    Scores,
    Signature,
    UserError,
)
from ganzoo_plugins.networks.condition import OneHot
from ganzoo_plugins.networks.sizes import num_downsamples
from ganzoo_plugins.networks.style import Filter

__all__ = ["Basis", "R3GANConfig", "R3GANDiscriminator", "R3GANGenerator", "Reading", "ResidualBlock"]

Conditions = Sequence[Label | Attributes]

_SLOPE = 0.2
_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


class R3GANConfig(AdversarialConfig):
    """Settings of R3GAN."""

    latent_dim: int = Field(64, ge=1, description="size of the latent")
    widths: tuple[int, ...] = Field(
        (8, 32, 64),
        min_length=1,
        description="channels of the stages from the image down; the last is kept further on",
    )
    blocks: int = Field(1, ge=1, description="residual blocks a stage")
    expansion: int = Field(2, ge=1, description="how many times the channels inside a block are those outside")
    group: int = Field(8, ge=1, description="channels that a group of the inner 3x3 convolution sees")
    fir: bool = Field(
        False, description="resample with the filter [1, 3, 3, 1] and zeros around the map, as the authors' code does"
    )
    conditional: bool = Field(False, description="draw samples for the labels or attributes of the data")
    burn_in: int = Field(
        0,
        ge=0,
        description="images in which, along half a cosine, r1's and r2's weights fall from ten times their values to "
        "these, and Adam's second beta rises to its own from 0.9; 0: both are what they are from the start",
    )
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=3e-3, betas=(0.0, 0.99)), description="optimizer of both; betas as in the paper"
    )


class ResidualBlock(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolution, leaky ReLU between them, added to the input.

    Initialized by the rule of fix-up (arXiv:1901.09321), as the paper has it: the last layer is 0, so that the block
    is the identity at first, and the others are scaled by L^(-1/(2m - 2)) for L blocks of m = 3 layers.
    """

    def __init__(self, channels: int, expansion: int, group: int, blocks: int) -> None:
        super().__init__()
        inner = channels * expansion
        if inner % group:
            raise UserError(
                f"groups of {group} channels do not divide the {inner} inner channels of a block; make model.widths "
                "times model.expansion multiples of model.group"
            )
        gain = sqrt(2 / (1 + _SLOPE**2)) * blocks ** (-1 / (2 * 3 - 2))
        self.body = nn.Sequential(
            _initialized(nn.Conv2d(channels, inner, 1), gain),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _initialized(nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group), gain),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _initialized(nn.Conv2d(inner, channels, 1, bias=False), 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Basis(nn.Module):
    """Latent [N, L] to the start map [N, C, h, w].

    A learned constant, each channel of it scaled by a linear function of z.
    """

    def __init__(self, latent_dim: int, start: tuple[int, int, int]) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(start))
        self.scale = _initialized(nn.Linear(latent_dim, start[0], bias=False))

    def forward(self, z: Tensor) -> Tensor:
        return self.constant * self.scale(z)[:, :, None, None]


class Reading(nn.Module):
    """The start map [N, C, h, w] to scores [N, ``outputs``].

    A weighted sum over each channel, which is a depthwise convolution that covers the map, and a linear layer.
    """

    def __init__(self, start: tuple[int, int, int], outputs: int = 1) -> None:
        super().__init__()
        channels, height, width = start
        self.weight = nn.Parameter(torch.randn(start) / sqrt(height * width))
        self.score = _initialized(nn.Linear(channels, outputs, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.score((x * self.weight).sum((2, 3)))


class ConditionEmbedding(nn.Module):
    """Labels [N] and attributes [N, A] to [N, D]: a linear map of the vector that all of them make up."""

    def __init__(self, conditions: Conditions, dim: int, gain: float = 1.0) -> None:
        super().__init__()
        self.encode = OneHot(conditions)
        self.map = _initialized(nn.Linear(self.encode.size, dim, bias=False), gain)

    def forward(self, *conditions: Tensor) -> Tensor:
        return self.map(self.encode(*conditions))


class Double(nn.Module):
    """Twice the height and width, by bilinear interpolation."""

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class R3GANGenerator(Generator):
    """Latent [N, L] and conditions to images [N, C, H, W]: stages of residual blocks, the size doubled between them.

    Conditions are embedded in as many numbers as the latent has, which stand behind it.
    """

    def __init__(self, config: R3GANConfig, sample: Image, conditions: Conditions = ()) -> None:
        super().__init__(Signature((Latent((config.latent_dim,)), *conditions), sample))
        widths, start = _stages(config.widths, sample)
        self.embedding = ConditionEmbedding(conditions, config.latent_dim) if conditions else None
        self.body = nn.Sequential(Basis(config.latent_dim * (2 if conditions else 1), start))
        for width, narrower in zip(widths[::-1], [*widths[-2::-1], None], strict=True):
            self.body.extend(_stage(config, width, len(widths)))
            if narrower is not None:
                # The 1x1 convolution stands before the interpolation, which gives the same and costs a quarter.
                self.body.extend([*_narrowed(width, narrower), Filter("up", gain=4) if config.fir else Double()])
        self.body.append(_initialized(nn.Conv2d(widths[0], sample.channels, 1)))
        self.limits = sample.range

    def forward(self, z: Tensor, *conditions: Tensor) -> Tensor:
        images = self.body(z if self.embedding is None else torch.cat([z, self.embedding(*conditions)], 1))
        return images if self.training else images.clamp(*self.limits)


class R3GANDiscriminator(Discriminator):
    """Images [N, C, H, W] and conditions to one score each.

    The generator's stages in reverse order, with downsampling by 2 between them. Of conditions, the score is the
    product of what is read of the image and their embedding, in as many numbers as the smallest map has channels.
    """

    def __init__(self, config: R3GANConfig, sample: Image, conditions: Conditions = ()) -> None:
        super().__init__(Signature((sample, *conditions), Scores()))
        widths, start = _stages(config.widths, sample)
        features = start[0] if conditions else 1
        self.body = nn.Sequential(_initialized(nn.Conv2d(sample.channels, widths[0], 1)))
        for width, wider in zip(widths, [*widths[1:], None], strict=True):
            self.body.extend(_stage(config, width, len(widths)))
            if wider is not None:
                self.body.extend([Filter("down") if config.fir else nn.AvgPool2d(2), *_narrowed(width, wider)])
        self.body.append(Reading(start, features))
        self.embedding = ConditionEmbedding(conditions, features, features**-0.5) if conditions else None

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        x = self.body(x)
        return x.squeeze(1) if self.embedding is None else (x * self.embedding(*conditions)).sum(1)


def _stages(widths: Sequence[int], sample: Image) -> tuple[list[int], tuple[int, int, int]]:
    """Return the channels of the stages from the image down, and the shape of the smallest map."""
    count, (height, breadth) = num_downsamples(sample)
    all_widths = [widths[min(index, len(widths) - 1)] for index in range(count + 1)]
    return all_widths, (all_widths[-1], height, breadth)


def _stage(config: R3GANConfig, width: int, stages: int) -> list[nn.Module]:
    total = stages * config.blocks
    return [ResidualBlock(width, config.expansion, config.group, total) for _ in range(config.blocks)]


def _narrowed(before: int, after: int) -> list[nn.Module]:
    return [] if before == after else [_initialized(nn.Conv2d(before, after, 1, bias=False))]


def _initialized(layer: _Layer, gain: float = 1.0) -> _Layer:
    """Draw the weights from N(0, gain^2 / fan-in), and set the biases to 0."""
    nn.init.normal_(layer.weight, std=gain / sqrt(prod(layer.weight.shape[1:])))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
