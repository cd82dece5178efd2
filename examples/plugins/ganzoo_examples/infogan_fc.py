"""A small InfoGAN: a kind and two codes that come to mean something, learned without labels."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from math import prod
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from ganzoo import AdversarialConfig, AdversarialTrainer, Batch, Generator, Image, Label, Latent, Phase, Signature
from ganzoo_examples.perceptrons import PerceptronDiscriminator, perceptron


class InfoGANConfig(AdversarialConfig):
    """What [model] may say."""

    latent_dim: int = Field(16, ge=1, description="size of the noise")
    kinds: int = Field(10, ge=2, description="how many kinds there are")
    width: int = Field(256, ge=1, description="width of the hidden layers")
    weight: float = Field(1.0, gt=0, description="weight of what an image says about its codes")


class CodedGenerator(Generator):
    """Noise [N, L], a kind [N] and codes in -1..1 [N, 2] to images [N, C, H, W]."""

    def __init__(self, config: InfoGANConfig, sample: Image) -> None:
        noise, codes = Latent((config.latent_dim,)), Latent((2,), "uniform", name="c")
        super().__init__(Signature((noise, codes, Label(config.kinds, name="kind")), sample))
        self.kinds = nn.Embedding(config.kinds, 16)
        self.body = perceptron(config.latent_dim + 2 + 16, config.width, prod(sample.shape))

    def forward(self, z: Tensor, c: Tensor, kind: Tensor) -> Tensor:
        return self.body(torch.cat([z, c, self.kinds(kind)], 1)).tanh().unflatten(1, self.signature.output.shape)


class InfoGAN(AdversarialTrainer[InfoGANConfig]):
    """InfoGAN: Interpretable Representation Learning, arXiv:1606.03657, with a recognizer of its own."""

    defaults = {"steps": 10_000, "batch_size": 64, "data": {"name": "mnist5k"}, "loss": {"name": "hinge"}}

    def __init__(self, config: InfoGANConfig, data: Any, *others: Any) -> None:
        super().__init__(config, data, *others)
        guesses = perceptron(prod(data.sample.shape), config.width, 2 + config.kinds)
        self.recognizer = self.networks["recognizer"] = nn.Sequential(nn.Flatten(), guesses)
        both = chain(self.generator.parameters(), self.recognizer.parameters())
        self.optimizers["generator"] = config.optimizer.build(both, betas=self.loss.betas)

    def build_generator(self, sample: Image) -> CodedGenerator:
        return CodedGenerator(self.config, sample)

    def build_discriminator(self, sample: Image) -> PerceptronDiscriminator:
        return PerceptronDiscriminator(self.config.width, sample)

    def phases(self) -> Sequence[Phase]:
        """The generator and the recognizer learn together."""
        both = ("generator", "recognizer")
        return [replace(each, updates=both) if each.name == "generator" else each for each in super().phases()]

    def condition(self, batch: Batch) -> tuple[Tensor, ...]:
        """Draw what the generator is given beside the noise; the discriminator does not ask for it."""
        n = len(batch[self.data.sample.name])
        codes = torch.rand(n, 2, device=self.device) * 2 - 1
        return codes, torch.randint(self.config.kinds, (n,), device=self.device)

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the adversarial loss, and how badly kind and codes are recognized in images (section 5)."""
        codes, kind = self.condition(batch)
        fake = self.generate(len(kind), (codes, kind))
        real_scores = self.score(self.shown(batch[self.data.sample.name]), ()) if self.loss.needs_real else None
        loss = self.loss.generator(self.score(self.shown(fake), ()), real_scores)
        guess = self.recognizer(fake).float()
        unknown = mse_loss(guess[:, :2], codes) + cross_entropy(guess[:, 2:], kind)
        return {**self.with_penalties(loss + self.config.weight * unknown, batch), "unknown": unknown.detach()}
