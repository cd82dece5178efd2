"""A GAN with two discriminators: one likes real samples, the other one fake ones."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from ganzoo import Batch, Image, Latent, OptimizerConfig, Phase, Points, Trainer, TrainerConfig, draw_latent
from ganzoo_examples.perceptrons import PerceptronDiscriminator, PerceptronGenerator


class D2GANConfig(TrainerConfig):
    """What [model] may say."""

    latent_dim: int = Field(16, ge=1, description="size of the latent")
    width: int = Field(128, ge=1, description="width of the hidden layers")
    alpha: float = Field(0.2, gt=0, le=1, description="how much the first discriminator gains by real samples")
    beta: float = Field(0.1, gt=0, le=1, description="how much the second discriminator gains by fake samples")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=2e-4, betas=(0.5, 0.999)), description="optimizer of all")


class D2GAN(Trainer[D2GANConfig]):
    """Dual Discriminator Generative Adversarial Nets, arXiv:1709.03831.

    With D = softplus(score), which is above 0, both discriminators maximize, and the generator minimizes,
    J = alpha E[log D1(x)] - E[D1(G(z))] - E[D2(x)] + beta E[log D2(G(z))].
    """

    samples = (Image, Points)
    defaults = {"steps": 5_000, "batch_size": 128, "data": {"name": "gaussians"}}

    def __init__(self, config: D2GANConfig, data: Any, *others: Any) -> None:
        super().__init__(config, data, *others)
        sample = self.scaled(data.sample)
        self.generator = PerceptronGenerator(Latent((config.latent_dim,)), config.width, sample)
        self.first, self.second = (PerceptronDiscriminator(config.width, sample) for _ in range(2))
        self.networks = {"generator": self.generator, "first": self.first, "second": self.second}
        self.optimizers = {
            "discriminators": config.optimizer.build(chain(self.first.parameters(), self.second.parameters())),
            "generator": config.optimizer.build(self.generator.parameters()),
        }

    def phases(self) -> Sequence[Phase]:
        """A step of both discriminators, then one of the generator; each gets a batch of its own."""
        return [
            Phase("discriminators", self.discriminator_loss, updates=("first", "second")),
            Phase("generator", self.generator_loss, updates=("generator",)),
        ]

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return -J."""
        real = batch[self.data.sample.name]
        with torch.no_grad():
            fake = self.generate(len(real))
        on_real = self.config.alpha * softplus(self.first(real)).log() - softplus(self.second(real))
        return {"loss": -on_real.mean() - self.on_fake(fake)}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the part of J that depends on the generator."""
        return {"loss": self.on_fake(self.generate(len(batch[self.data.sample.name])))}

    def on_fake(self, fake: Tensor) -> Tensor:
        return (self.config.beta * softplus(self.second(fake)).log() - softplus(self.first(fake))).mean()

    def generate(self, n: int) -> Tensor:
        return self.generator(draw_latent(self.generator, n, self.device))
