"""The standard game of two: a generator against a discriminator, under any loss and any regularisers."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo.data import Batch, DataSpec
from ganzoo.errors import UserError
from ganzoo.losses import Loss, Regularizer, Score
from ganzoo.networks import Discriminator, Generator
from ganzoo.signature import Field as SignatureField
from ganzoo.signature import Latent
from ganzoo.trainer import OptimizerConfig, Phase, Trainer, TrainerConfig

__all__ = ["AdversarialConfig", "AdversarialTrainer", "draw_latent"]


class AdversarialConfig(TrainerConfig):
    """Settings of every GAN with one generator and one discriminator."""

    n_critic: int | None = Field(
        None, ge=1, description="discriminator steps a generator step; left out: what the loss's paper takes"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="optimizer of both players")
    discriminator_lr: float | None = Field(
        None, gt=0, description="learning rate of the discriminator, if not the generator's"
    )


class AdversarialTrainer(Trainer):
    """A generator against a discriminator.

    A subclass implements :meth:`build_generator` and :meth:`build_discriminator`; the loss and the regularisers are
    the user's choice. Each step runs the discriminator phase ``n_critic`` times, each on a fresh batch, then lazy
    regularisers when they are due, then the generator phase.
    """

    Config: ClassVar[type[TrainerConfig]] = AdversarialConfig
    config: AdversarialConfig
    loss: Loss

    def __init__(
        self, config: AdversarialConfig, data: DataSpec, loss: Loss | None, regularizers: Mapping[str, Regularizer]
    ) -> None:
        if loss is None:
            raise UserError("this model is trained with an adversarial loss; name one with --loss")
        super().__init__(config, data, loss, regularizers)
        sample = self.scaled(data.sample)
        self.generator = self.build_generator(sample)
        self.discriminator = self.build_discriminator(sample)
        for regularizer in regularizers.values():
            regularizer.check(self.discriminator)
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        optimizer, betas = config.optimizer, loss.betas
        self.optimizers = {
            "generator": optimizer.build(self.generator.parameters(), betas=betas),
            "discriminator": optimizer.build(self.discriminator.parameters(), lr=config.discriminator_lr, betas=betas),
        }
        self._eager = {key: each for key, each in regularizers.items() if each.config.interval == 1}
        self._lazy = {key: each for key, each in regularizers.items() if each.config.interval > 1}
        # One pass over real and fake spares a fully connected network a reading of its weights. Convolutions are slower
        # on the joined maps, and layers that mix the samples of a batch would mix real and fake.
        apart = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)
        self._joint = not any(
            isinstance(module, apart) or getattr(module, "mixes_samples", False)
            for module in self.discriminator.modules()
        )

    @abstractmethod
    def build_generator(self, sample: SignatureField) -> Generator:
        """Return the generator of such samples; raises :class:`~ganzoo.UserError` if it cannot draw them."""

    @abstractmethod
    def build_discriminator(self, sample: SignatureField) -> Discriminator:
        """Return the discriminator of such samples."""

    def condition(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return what both players get beside their main input; nothing for an unconditional GAN."""
        return ()

    @property
    def n_critic(self) -> int:
        """Discriminator steps a generator step."""
        return self.config.n_critic or self.loss.critic_steps

    def phases(self) -> Sequence[Phase]:
        """Discriminator, lazy regularisers, generator."""
        return [
            Phase(
                "discriminator",
                self.discriminator_loss,
                updates=("discriminator",),
                repeat=self.n_critic,
                after=self._project if self.regularizers else None,
            ),
            *(self._lazy_phase(key, regularizer) for key, regularizer in self._lazy.items()),
            Phase("generator", self.generator_loss, updates=("generator",)),
        ]

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the discriminator minimises: the loss and the weighted penalties."""
        real, condition = batch[self.data.sample.name], self.condition(batch)
        fake = self._fake(real, condition)
        if self._joint:
            twice = tuple(torch.cat([part, part]) for part in condition)
            real_scores, fake_scores = self.discriminator(torch.cat([real, fake]), *twice).chunk(2)
        else:
            real_scores, fake_scores = self.discriminator(real, *condition), self.discriminator(fake, *condition)
        loss = self.loss.discriminator(real_scores, fake_scores)
        logs = {"real": real_scores.detach().mean(), "fake": fake_scores.detach().mean()}
        for key, regularizer in self._eager.items():
            penalty = regularizer.penalty(self._score(condition), real, fake)
            if penalty is not None:
                loss = loss + regularizer.config.weight * penalty
                logs[key] = penalty.detach()
        return {"loss": loss, **logs}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimises."""
        real, condition = batch[self.data.sample.name], self.condition(batch)
        fake = self.generator(draw_latent(self.generator, len(real), real.device), *condition)
        real_scores = self.discriminator(real, *condition) if self.loss.needs_real else None
        return {"loss": self.loss.generator(self.discriminator(fake, *condition), real_scores)}

    def _fake(self, real: Tensor, condition: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            return self.generator(draw_latent(self.generator, len(real), real.device), *condition)

    def _score(self, condition: tuple[Tensor, ...]) -> Score:
        return lambda samples: self.discriminator(samples, *condition)

    def _lazy_phase(self, key: str, regularizer: Regularizer) -> Phase:
        scale = regularizer.config.weight * regularizer.config.interval

        def loss(batch: Batch) -> dict[str, Tensor]:
            real, condition = batch[self.data.sample.name], self.condition(batch)
            penalty = regularizer.penalty(self._score(condition), real, self._fake(real, condition))
            if penalty is None:
                raise UserError(f"{key} has no penalty, so it takes no interval; leave it at 1")
            return {"loss": scale * penalty, "penalty": penalty.detach()}

        return Phase(
            key,
            loss,
            updates=("discriminator",),
            optimizer="discriminator",
            every=regularizer.config.interval,
            after=self._project,
        )

    def _project(self) -> None:
        for regularizer in self.regularizers.values():
            regularizer.project(self.discriminator)


def draw_latent(generator: Generator, n: int, device: torch.device) -> Tensor:
    """Draw ``n`` latents as the generator's signature says, from torch's global random state."""
    latent = generator.signature.inputs[0]
    if not isinstance(latent, Latent):
        raise UserError(f"the first input of {type(generator).__name__} is not a latent but {latent.kind}")
    shape = (n, *latent.shape)
    if latent.distribution == "normal":
        return torch.randn(shape, device=device)
    return torch.rand(shape, device=device) * 2 - 1
