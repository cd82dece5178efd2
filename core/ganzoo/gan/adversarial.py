"""Adversarial training of one generator and one discriminator, with any loss and any regularizers."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import TypeVar

from ganzoo.configured import type_arguments
from ganzoo.data.dataset import Batch, DataSpec
from ganzoo.errors import UserError
from ganzoo.fields import Attributes, Image, Label, Latent
from ganzoo.fields import Field as SignatureField
from ganzoo.gan.augmentation import Augment, AugmentConfig
from ganzoo.gan.losses import Bound, Generate, GeneratorRegularizer, Loss, Regularizer, Score
from ganzoo.gan.networks import Discriminator, Generator, MixesSamples
from ganzoo.gan.objective import DiscriminatorObjective, lazy_phase
from ganzoo.gan.optimizers import OptimizerConfig
from ganzoo.gan.precision import full_precision
from ganzoo.gan.second_derivatives import FastSecondDerivatives
from ganzoo.gan.spectral import normalize_spectrum
from ganzoo.gan.trainer import Phase, Trainer, TrainerConfig

__all__ = ["AdversarialConfig", "AdversarialTrainer", "draw_latent"]

Condition = tuple[Tensor, ...]
"""What both networks are given beside their main input: labels, attributes or nothing."""


class AdversarialConfig(TrainerConfig):
    """Settings of every GAN with one generator and one discriminator."""

    n_critic: int | None = Field(
        None, ge=1, description="discriminator steps for each generator step; left out: as in the loss's paper"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="optimizer of both networks")
    discriminator_lr: float | None = Field(
        None, gt=0, description="learning rate of the discriminator, if not the generator's"
    )
    pack: int = Field(1, ge=1, description="samples that the discriminator scores together (PacGAN, arXiv:1712.04086)")
    spectral_norm: bool = Field(
        False, description="divide the discriminator's weights by their spectral norm (arXiv:1802.05957)"
    )
    augment: AugmentConfig = Field(AugmentConfig(), description="differentiable augmentation of real and fake images")


Settings = TypeVar("Settings", bound=AdversarialConfig, default=AdversarialConfig, covariant=True)
Sample = TypeVar("Sample", bound=SignatureField, default=Image, contravariant=True)
Kind = TypeVar("Kind", bound=SignatureField)


class AdversarialTrainer(Trainer[Settings], Generic[Settings, Sample]):
    """Adversarial training of one generator and one discriminator.

    A subclass, ``AdversarialTrainer[ItsConfig]`` or, if it draws other samples than images,
    ``AdversarialTrainer[ItsConfig, Image | Points]``, implements :meth:`build_generator` and
    :meth:`build_discriminator`; the loss and the regularizers are the user's choice. Each step runs the discriminator
    phase ``n_critic`` times, each on a fresh batch, then lazy regularizers when they are due, then the generator phase.
    With ``conditional`` set, the generator is given every label and every attribute vector of the data, in their order,
    and so is a discriminator whose signature asks for them; :meth:`conditions_in` may choose otherwise.
    """

    samples: ClassVar[tuple[type[SignatureField], ...]] = (Image,)
    conditional: ClassVar[bool] = False
    loss: Loss

    def __init__(
        self,
        config: Settings,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        if loss is None:
            raise UserError("this model is trained with an adversarial loss; name one with --loss")
        super().__init__(config, data, loss, regularizers)
        sample = cast(Sample, self.scaled(data.sample))
        self.conditions = self.conditions_in(data)
        # A batch that is not a multiple of pack could not be packed without dropping samples.
        self.batch_multiple = config.pack
        self.generator = self.build_generator(sample)
        seen = sample.packed(config.pack) if config.pack > 1 else sample
        self.discriminator = self.build_discriminator(cast(Sample, seen))
        if config.spectral_norm:
            normalize_spectrum(self.discriminator)
        self._conditional = len(self.discriminator.signature.inputs) > 1
        if config.pack > 1 and self._conditional:
            raise UserError("pack joins samples whatever their labels, so this conditional model takes pack=1 alone")
        if config.augment.policy and not isinstance(sample, Image):
            raise UserError(f"augmentation is for images, and {data.name} has {sample.kind}")
        if config.augment.target is not None and not loss.signed:
            raise UserError(
                "adaptive augmentation reads the sign of the real scores, which this loss gives no meaning; take a "
                "fixed augment.probability with augment.ramp instead of augment.target"
            )
        self.augment = Augment(config.augment, self.pixel_range)
        # Penalties on the discriminator belong to its objective, which also applies them lazily and projects weights.
        # Penalties on the generator need it as a function of latents, and stay here.
        scored = {key: each for key, each in regularizers.items() if isinstance(each, Regularizer)}
        self.objective = DiscriminatorObjective(self.discriminator, loss, scored, augment=self.augmented)
        self._generator_penalties = {
            key: each for key, each in regularizers.items() if isinstance(each, GeneratorRegularizer)
        }
        for penalty in self._generator_penalties.values():
            penalty.check(self.generator)
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.optimizers = {
            name: self.optimizer_settings(name).build(network.parameters()) for name, network in self.networks.items()
        }
        # Real and fake samples go through the discriminator in one pass where that is safe and faster: fully connected
        # layers then read their weights once. Convolutions are slower on the larger batch. Batch norm and layers that
        # mix samples would compute their statistics over real and fake samples together.
        apart = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)
        self._joint = not any(
            isinstance(module, apart) or (isinstance(module, MixesSamples) and module.mixes_samples)
            for module in self.discriminator.modules()
        )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.samples = tuple(type_arguments(cls, SignatureField)) or cls.samples

    @abstractmethod
    def build_generator(self, sample: Sample) -> Generator:
        """Return the generator of such samples; raises :class:`~ganzoo.UserError` if it cannot draw them."""

    @abstractmethod
    def build_discriminator(self, sample: Sample) -> Discriminator:
        """Return the discriminator of such samples."""

    def optimizer_settings(self, network: str) -> OptimizerConfig:
        """Return the settings of the optimizer of a network, ``"generator"`` or ``"discriminator"``, betas among them.

        A subclass changes them where its paper has others for one of the two.
        """
        config = self.config
        settings = config.optimizer.model_copy(update={"betas": config.optimizer.betas or self.loss.betas})
        if network == "discriminator" and config.discriminator_lr is not None:
            settings = settings.model_copy(update={"lr": config.discriminator_lr})
        return settings

    @property
    def n_critic(self) -> int:
        """Discriminator steps a generator step."""
        return self.config.n_critic or self.loss.critic_steps

    def phases(self) -> Sequence[Phase]:
        """Discriminator, its lazy regularizers, generator, its lazy regularizers."""
        phases = [
            *self.objective.phases(self._scored_pair, repeat=self.n_critic, loss=self.discriminator_loss),
            Phase("generator", self.generator_loss, updates=("generator",)),
        ]
        for key, penalty in self._generator_penalties.items():
            if penalty.config.interval > 1:
                phases.append(lazy_phase(key, penalty, "generator", "generator", self._generator_penalty(penalty)))
        return phases

    def conditions_in(self, data: DataSpec) -> tuple[Label | Attributes, ...]:
        """Return the fields that the networks are given beside their main input; by default all if ``conditional``."""
        return data.conditions if self.conditional else ()

    def condition(self, batch: Batch) -> Condition:
        """Return what the networks are given about the batch's samples; nothing if the model is not conditional."""
        return tuple(batch[field.name] for field in self.conditions)

    def generate(self, n: int, condition: Condition) -> Tensor:
        """Return ``n`` generated samples, as they are drawn in training."""
        return self.generator(draw_latent(self.generator, n, self.device), *condition)

    def differentiated(self, condition: Condition, n: int) -> tuple[Generate, Tensor]:
        """Return what regularizers of the generator differentiate: it as a function of latents, and ``n`` of these."""
        return lambda z: self.generator(z, *condition), draw_latent(self.generator, n, self.device)

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor, Condition]:
        """Return real samples, as many generated ones, and their condition.

        Both are packed and not augmented yet, and have no gradient.
        """
        real, condition = batch[self.data.sample.name], self.condition(batch)
        # The discriminator's step never needs the generator's gradient: without a graph it saves memory and time.
        with torch.no_grad():
            fake = self.generate(len(real), condition)
            return self.packed(real), self.packed(fake), condition

    def shown(self, samples: Tensor) -> Tensor:
        """Return samples as the discriminator sees them: packed and augmented."""
        return self.augmented(self.packed(samples))

    def augmented(self, samples: Tensor) -> Tensor:
        """Return packed samples, each image in them augmented."""
        if not self.config.augment.policy:
            return samples
        images = samples.reshape(-1, samples.shape[1] // self.config.pack, *samples.shape[2:])
        return self.augment(images).reshape(samples.shape)

    def packed(self, samples: Tensor) -> Tensor:
        """Return samples as many together as the discriminator scores at once."""
        pack = self.config.pack
        if pack == 1:
            return samples
        if len(samples) % pack:
            raise UserError(f"a batch of {len(samples)} cannot be packed by {pack}; make batch_size a multiple of it")
        return samples.reshape(-1, pack * samples.shape[1], *samples.shape[2:])

    def score(self, samples: Tensor, condition: Condition) -> Tensor:
        """Return the discriminator's scores; a discriminator whose signature has no condition is given none."""
        return self.discriminator(samples, *condition) if self._conditional else self.discriminator(samples)

    def scores(self, real: Tensor, fake: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """Return the scores of real and of fake samples, which must have equal shapes."""
        if self._joint:
            # The condition is the same for real and fake, so it is repeated in the order of the joined samples.
            twice = tuple(torch.cat([part, part]) for part in condition)
            real_scores, fake_scores = self.score(torch.cat([real, fake]), twice).chunk(2)
            return real_scores, fake_scores
        return self.score(real, condition), self.score(fake, condition)

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the discriminator minimizes: the loss and the weighted penalties."""
        real, fake, condition = self.pair(batch)
        real_scores, fake_scores = self.scores(self.augmented(real), self.augmented(fake), condition)
        return self.adversarial(real_scores, fake_scores, real, fake, condition)

    def adversarial(
        self, real_scores: Tensor, fake_scores: Tensor, real: Tensor, fake: Tensor, condition: Condition
    ) -> dict[str, Tensor]:
        """Return the discriminator's loss for these scores with the penalties that are due in every step.

        The samples are those of :meth:`pair`, before they were augmented.
        """
        # There is one score for each pack, but the strength of augmentation is adapted by the number of images.
        logs = self.augment.adapt(real_scores, len(real) * self.config.pack)
        score = self._score_of(condition)
        return {**self.objective.discriminator_loss(real_scores, fake_scores, score, real, fake), **logs}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes: the loss and the weighted penalties."""
        real, condition = batch[self.data.sample.name], self.condition(batch)
        fake = self.generate(len(real), condition)
        # Only relativistic losses compare with real scores; for all others that pass would be wasted.
        real_scores = self.score(self.shown(real), condition) if self.loss.needs_real else None
        loss = self.loss.generator(self.score(self.shown(fake), condition), real_scores)
        return self.with_penalties(loss, batch)

    def with_penalties(self, loss: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the generator's loss with its penalties that are due in every step."""
        logs = {}
        for key, regularizer in self._generator_penalties.items():
            if regularizer.config.interval == 1:
                penalty = self._generator_penalty(regularizer)(batch)
                assert penalty is not None
                loss = loss + regularizer.config.weight * penalty
                logs[key] = penalty.detach()
        return {"loss": loss, **logs}

    def state_dict(self) -> dict[str, Any]:
        """Return what the loss, the regularizers and adaptive augmentation keep between steps."""
        # Without the probability, a resumed run would start its adaptive augmentation from 0 again.
        return {**super().state_dict(), "augment": self.augment.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.augment.load_state_dict(state["augment"])

    def _score_of(self, condition: Condition) -> Score:
        return lambda samples: self.score(samples, condition)

    def _scored_pair(self, batch: Batch) -> tuple[Score, Tensor, Tensor]:
        real, fake, condition = self.pair(batch)
        return self._score_of(condition), real, fake

    def _generator_penalty(self, regularizer: GeneratorRegularizer) -> Callable[[Batch], Tensor | None]:
        def penalty(batch: Batch) -> Tensor | None:
            real, condition = batch[self.data.sample.name], self.condition(batch)
            # Such penalties differentiate the generator twice (path length, for example): bfloat16 is too coarse.
            with full_precision(real.device), FastSecondDerivatives():
                generate, z = self.differentiated(condition, len(real))
                return regularizer.penalty(Bound(self.generator, generate), z)

        return penalty


def draw_latent(generator: Generator, n: int, device: torch.device) -> Tensor:
    """Draw ``n`` latents as the generator's signature says, from torch's global random state."""
    latent = generator.signature.inputs[0]
    if not isinstance(latent, Latent):
        raise UserError(f"the first input of {type(generator).__name__} is not a latent but {latent.kind}")
    shape = (n, *latent.shape)
    if latent.distribution == "normal":
        return torch.randn(shape, device=device)
    return torch.rand(shape, device=device) * 2 - 1
