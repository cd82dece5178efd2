"""SAGAN: self-attention in residual networks, both players under spectral norm."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Attributes,
    DataSpec,
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
from ganzoo_plugins.networks.condition import OneHot
from ganzoo_plugins.networks.conditional_norm import ConditionalBatchNorm2d
from ganzoo_plugins.networks.layers import output_activation, same_conv2d
from ganzoo_plugins.networks.projection import ProjectionDiscriminator
from ganzoo_plugins.networks.resnet import Norm, UpBlock

__all__ = ["SAGAN", "SAGANConfig", "SAGANGenerator"]


class SAGANConfig(AdversarialConfig):
    """Settings of SAGAN."""

    width: int = Field(8, ge=1, description="channels that all numbers of channels are multiples of: 4 times at 32x32")
    latent_dim: int = Field(128, ge=1, description="size of the latent")
    attention: int = Field(
        16, ge=0, description="longer side of the maps with self-attention, or up to half of it; 0: none has it"
    )
    n_critic: int | None = Field(1, ge=1, description="discriminator steps a generator step")
    spectral_norm: bool = Field(True, description="divide the weights of both networks by their spectral norm")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=5e-4, betas=(0.0, 0.9)), description="optimizer of both")
    discriminator_lr: float | None = Field(
        2e-3, gt=0, description="learning rate of the discriminator, 4 times the generator's as in the paper"
    )


class SAGANGenerator(Generator):
    """Latents [N, L] and conditions to images [N, C, H, W].

    A linear layer, residual blocks that double the size, self-attention behind one of them, and a 3x3 convolution. Only
    the batch norms of the blocks are given the condition; without one they are plain.
    """

    def __init__(self, config: SAGANConfig, sample: Image, conditions: Sequence[Label | Attributes]) -> None:
        super().__init__(Signature((Latent((config.latent_dim,)), *conditions), sample))
        widths, (height, width) = generator_widths(sample, config.width)
        start = (widths[0], height, width)
        self.encode = OneHot(conditions) if conditions else None
        norm: Norm = nn.BatchNorm2d
        if self.encode is not None:
            size = self.encode.size
            norm = lambda channels: ConditionalBatchNorm2d(channels, size)  # noqa: E731
        self.stem = nn.Sequential(nn.Linear(config.latent_dim, prod(start)), nn.Unflatten(1, start))
        self.blocks = nn.ModuleList(UpBlock(before, after, norm) for before, after in pairwise(widths))
        self.attention = attention_layers(sample, widths, config.attention)
        self.head = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            same_conv2d(widths[-1], sample.channels, 3),
            output_activation(sample),
        )

    def forward(self, z: Tensor, *conditions: Tensor) -> Tensor:
        code = () if self.encode is None else (self.encode(*conditions),)
        maps = self.stem(z)
        for block, attention in zip(self.blocks, self.attention, strict=True):
            maps = attention(block(maps, *code))
        return self.head(maps)


class SAGAN(AdversarialTrainer[SAGANConfig]):
    """Self-Attention Generative Adversarial Networks (arXiv:1805.08318).

    Residual networks with self-attention at maps of one size, spectral norm in both networks, the hinge loss, and a
    discriminator that learns at four times the generator's rate instead of taking more steps (TTUR). Labels and
    attributes of the data, where it has any, scale the generator's batch norms and project the discriminator's
    features; without them the model is unconditional.

    The preset ``paper128`` has the paper's networks at 128x128, attention at 32x32, and its settings; it is for a
    folder of images by class. The defaults are narrow, with higher rates, for 32x32 on a CPU. Channels follow the
    size of the images as in BigGAN's tables, of which 128's is the paper's.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows, up to 512x512.
    """

    defaults = {
        "steps": 4_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "hinge"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "paper128": {
            "steps": 1_000_000,
            "batch_size": 256,
            "ema": 0.999,
            "lr_schedule": "constant",
            "lr_warmup": 0,
            "model": {
                "width": 64,
                "attention": 32,
                "optimizer": {"name": "adam", "lr": 1e-4, "betas": (0.0, 0.9)},
                "discriminator_lr": 4e-4,
            },
        }
    }

    def conditions_in(self, data: DataSpec) -> tuple[Label | Attributes, ...]:
        """Return all labels and attributes of the data, if it has any."""
        return tuple(field for field in data.fields[1:] if isinstance(field, Label | Attributes))

    def build_generator(self, sample: Image) -> Generator:
        generator = SAGANGenerator(self.config, sample, self.conditions)
        generator.apply(_initialize)
        if self.config.spectral_norm:
            # Not the classes' weights and biases, which start at 0 and are one number a channel.
            normalize_spectrum(generator, apart=(ConditionalBatchNorm2d,))
        return generator

    def build_discriminator(self, sample: Image) -> Discriminator:
        features, width = attentive_features(sample, self.config.width, self.config.attention)
        discriminator = ProjectionDiscriminator(features, width, sample, self.conditions)
        return discriminator.apply(_initialize)


def _initialize(module: nn.Module) -> None:
    """Draw weights in Glorot's way, as the authors' code does, and set biases to 0."""
    if isinstance(module, ConditionalBatchNorm2d):
        nn.init.zeros_(module.affine.weight)  # after its inner layer, which was drawn: children come first
    elif isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
        nn.init.xavier_uniform_(module.weight)
        if not isinstance(module, nn.Embedding) and module.bias is not None:
            nn.init.zeros_(module.bias)
