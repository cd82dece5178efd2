"""The convolutional conditional WGAN-GP: a convolution mixes the image with planes made of the condition."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

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
    Scores,
    Signature,
    UserError,
)
from ganzoo_plugins.conditional.cgan import SHAPES
from ganzoo_plugins.networks.compact import CompactCritic, CompactGenerator
from ganzoo_plugins.networks.condition import Embedding, JoinedGenerator

__all__ = ["CombiningCritic", "ConvolutionalConditionalConfig", "ConvolutionalConditionalWGAN"]


class ConvolutionalConditionalConfig(AdversarialConfig):
    """Settings of the convolutional conditional WGAN-GP."""

    width: int = Field(24, ge=1, description="generator: channels, times 4 and 2 from map to map")
    critic_width: int = Field(32, ge=1, description="critic: channels, times 1, 2 and 4 from map to map")
    latent_dim: int = Field(32, ge=1, description="size of the latent")
    embedding_dim: int = Field(16, ge=1, description="size of the embedding of each label and each attribute vector")
    planes: int = Field(1, ge=1, description="planes of the image's size that the critic makes of the embedding")
    n_critic: int | None = Field(1, ge=1, description="critic steps a generator step")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=5e-3), description="optimizer of both")


class CombiningCritic(Discriminator):
    """Images [N, C, H, W] and conditions to one score each.

    A linear layer makes planes of the image's size from the embedding; the critic's first convolution mixes them with
    the image's channels. Unlike constant planes they can point at places of the image.
    """

    def __init__(
        self,
        width: int,
        sample: Image,
        conditions: Sequence[Label | Attributes],
        embedding_dim: int,
        planes: int,
    ) -> None:
        super().__init__(Signature((sample, *conditions), Scores()))
        self.encode = Embedding(conditions, embedding_dim)
        shape = (planes, sample.height, sample.width)
        self.planes = nn.Sequential(nn.Linear(self.encode.size, prod(shape)), nn.Unflatten(1, shape))
        self.inner = CompactCritic(width, replace(sample, channels=sample.channels + planes))

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        return self.inner(torch.cat([x, self.planes(self.encode(*conditions))], 1))


class ConvolutionalConditionalWGAN(AdversarialTrainer[ConvolutionalConditionalConfig]):
    """WGAN-GP with convolutions (Improved Training of Wasserstein GANs, arXiv:1704.00028) whose players are given the
    condition as in Conditional Generative Adversarial Nets (arXiv:1411.1784).

    Each player has an embedding of its own of every label and every attribute vector: the generator's is joined to the
    latent, the critic's becomes planes beside the image. The gradient penalty is that of the image alone. Images of any
    height and width that are multiples of 4. The preset ``shapes`` draws shapes by all their attributes.
    """

    conditional = True
    pixel_range = (0.0, 1.0)
    defaults = {
        "steps": 5_500,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "wgan_gp"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "shapes": {
            "steps": 6_000,
            "data": SHAPES["data"],
            # At the default rate colors are driven to where the sigmoid is flat, and stay there.
            "model": {"width": 32, "planes": 4, "embedding_dim": 32, "optimizer": {"lr": 2e-3}},
        }
    }

    def build_generator(self, sample: Image) -> Generator:
        if sample.height % 4 or sample.width % 4 or min(sample.height, sample.width) < 8:
            raise UserError(
                "cwgan_gp_conv draws images whose height and width are multiples of 4, at least 8, not "
                f"{sample.height}x{sample.width}; resize them, as with --data folder --set data.size=32"
            )
        config = self.config
        return JoinedGenerator(
            Latent((config.latent_dim,)),
            self.conditions,
            Embedding(self.conditions, config.embedding_dim),
            lambda size: CompactGenerator(size, config.width, None, sample),
        )

    def build_discriminator(self, sample: Image) -> Discriminator:
        config = self.config
        return CombiningCritic(config.critic_width, sample, self.conditions, config.embedding_dim, config.planes)
