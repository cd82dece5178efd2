"""The fully connected conditional WGAN-GP: the shape of a sample does not matter to it."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

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
    Points,
    Scores,
    Signature,
)
from ganzoo_plugins.conditional.cgan import SHAPES
from ganzoo_plugins.networks.condition import Embedding, JoinedGenerator
from ganzoo_plugins.networks.mlp import FullyConnectedDiscriminator, FullyConnectedGenerator

__all__ = ["FullyConnectedConditionalConfig", "FullyConnectedConditionalWGAN", "JoinedCritic"]


class FullyConnectedConditionalConfig(AdversarialConfig):
    """Settings of the fully connected conditional WGAN-GP."""

    latent_dim: int = Field(64, ge=1, description="size of the latent")
    embedding_dim: int = Field(16, ge=1, description="size of the embedding of each label and each attribute vector")
    hidden: tuple[int, ...] = Field((256, 256, 256), min_length=1, description="widths of the hidden layers")
    gated: bool = Field(False, description="multiply the generator's hidden layers by linear maps of their inputs")
    layer_norm: Literal["generator", "both", "none"] = Field("generator", description="where layers are normalized")
    n_critic: int | None = Field(1, ge=1, description="critic steps a generator step")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1e-3), description="optimizer of both")


class JoinedCritic(Discriminator):
    """Samples [N, ...] of any shape and conditions to one score each.

    The embedding is joined to the flattened sample.
    """

    def __init__(
        self,
        sample: Image | Points,
        conditions: Sequence[Label | Attributes],
        embedding_dim: int,
        hidden: tuple[int, ...],
        layer_norm: bool,
    ) -> None:
        super().__init__(Signature((sample, *conditions), Scores()))
        self.encode = Embedding(conditions, embedding_dim)
        self.inner = FullyConnectedDiscriminator(Points(prod(sample.shape) + self.encode.size), hidden, layer_norm)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        return self.inner(torch.cat([x.flatten(1), self.encode(*conditions)], 1))


class FullyConnectedConditionalWGAN(AdversarialTrainer[FullyConnectedConditionalConfig, Image | Points]):
    """WGAN-GP (Improved Training of Wasserstein GANs, arXiv:1704.00028) whose players are given the condition as in
    Conditional Generative Adversarial Nets (arXiv:1411.1784).

    Each player has an embedding of its own of every label and every attribute vector, learned along with it, and joins
    it to its input. The gradient penalty is that of the sample alone.
    """

    conditional = True
    pixel_range = (0.0, 1.0)
    defaults = {
        "steps": 50_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "wgan_gp"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "shapes": {
            "steps": 18_000,
            "data": {**SHAPES["data"], "size": 60_000},
            "model": {"hidden": (768, 768, 768), "gated": True, "latent_dim": 16, "embedding_dim": 64},
        }
    }

    def build_generator(self, sample: Image | Points) -> Generator:
        config, code = self.config, Embedding(self.conditions, self.config.embedding_dim)
        layer_norm = config.layer_norm != "none"
        return JoinedGenerator(
            Latent((config.latent_dim,)),
            self.conditions,
            code,
            lambda size: FullyConnectedGenerator(size, config.hidden, sample, layer_norm, gated=config.gated),
        )

    def build_discriminator(self, sample: Image | Points) -> Discriminator:
        config = self.config
        return JoinedCritic(sample, self.conditions, config.embedding_dim, config.hidden, config.layer_norm == "both")
