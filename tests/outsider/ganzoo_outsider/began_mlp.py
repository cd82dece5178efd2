"""BEGAN with multi-layer perceptrons: a discriminator that gives no scores, so the GAN brings phases of its own."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import Batch, Generator, Latent, OptimizerConfig, Phase, Signature, Trainer, TrainerConfig
from ganzoo import Field as SampleField


class BeganConfig(TrainerConfig):
    """What [model] may say."""

    latent_dim: int = Field(32, ge=1, description="size of the latent")
    width: int = Field(256, ge=1, description="width of the hidden layers")
    gamma: float = Field(0.9, gt=0, le=1, description="error of fake over error of real samples at the equilibrium")
    lambda_k: float = Field(0.05, gt=0, description="how fast the balance follows (in the paper 0.001)")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=5e-4, betas=(0.5, 0.999)), description="optimizer of both")


class BeganGenerator(Generator):
    """Latent [N, L] to samples [N, ...] of any shape."""

    def __init__(self, config: BeganConfig, sample: SampleField) -> None:
        super().__init__(Signature((Latent((config.latent_dim,), "uniform"),), sample))
        self.body = _perceptron(config.latent_dim, config.width, prod(sample.shape))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).tanh().unflatten(1, self.signature.output.shape)


class Began(Trainer[BeganConfig]):
    """The discriminator is an autoencoder; its error on real and on fake samples is kept in proportion.

    BEGAN: Boundary Equilibrium Generative Adversarial Networks, arXiv:1703.10717. With L(x) = |x - D(x)| the
    discriminator minimizes L(x) - k L(G(z)) and the generator L(G(z)); k moves by lambda (gamma L(x) - L(G(z))).
    """

    defaults = {"steps": 5_000, "batch_size": 64, "data": {"name": "digits"}}

    def __init__(self, config: BeganConfig, data: Any, *others: Any) -> None:
        super().__init__(config, data, *others)
        sample = self.scaled(data.sample)
        size = prod(sample.shape)
        self.generator = BeganGenerator(config, sample)
        self.autoencoder = nn.Sequential(
            nn.Flatten(),
            _perceptron(size, config.width, config.latent_dim),
            _perceptron(config.latent_dim, config.width, size),
        )
        self.networks = {"generator": self.generator, "discriminator": self.autoencoder}
        self.optimizers = {name: config.optimizer.build(each.parameters()) for name, each in self.networks.items()}
        self.k = torch.zeros(())

    def phases(self) -> Sequence[Phase]:
        """A step of the discriminator, then one of the generator; each gets a batch of its own."""
        return [
            Phase("discriminator", self.discriminator_loss, updates=("discriminator",)),
            Phase("generator", self.generator_loss, updates=("generator",)),
        ]

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return L(x) - k L(G(z)) to be minimized, and what is worth a curve."""
        real = batch[self.data.sample.name]
        with torch.no_grad():
            fake = self.generator(self.latents(real))
        on_real, on_fake = self.error(real), self.error(fake)
        self.k = self.k.to(real.device)  # moved once; from then on changed in place, so that the phase can be captured
        loss = on_real - self.k.clone() * on_fake
        drift = self.config.gamma * on_real.detach() - on_fake.detach()
        self.k.add_(self.config.lambda_k * drift).clamp_(0, 1)
        return {"loss": loss, "k": self.k.clone(), "convergence": on_real.detach() + drift.abs()}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return L(G(z))."""
        return {"loss": self.error(self.generator(self.latents(batch[self.data.sample.name])))}

    def error(self, samples: Tensor) -> Tensor:
        """Return the mean absolute error of the reconstruction."""
        return (self.autoencoder(samples) - samples.flatten(1)).abs().mean()

    def latents(self, like: Tensor) -> Tensor:
        """Return as many latents as there are samples, from torch's global random state."""
        return torch.rand(len(like), self.config.latent_dim, device=like.device) * 2 - 1

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept between steps beside weights."""
        return {"k": self.k.cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back on resume."""
        self.k = state["k"].clone()


def _perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, outputs)
    )
