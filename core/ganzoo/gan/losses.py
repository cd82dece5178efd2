"""Adversarial losses on scores, and regularizers on networks and batches: plugins of their own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from typing_extensions import TypeVar

from ganzoo.configured import Configured

__all__ = [
    "Bound",
    "Generate",
    "GeneratorRegularizer",
    "Loss",
    "LossConfig",
    "Regularizer",
    "RegularizerConfig",
    "Score",
]

Score = Callable[[Tensor], Tensor]
"""A discriminator as a function of the sample alone: its condition, if it has one, is bound."""

Generate = Callable[[Tensor], Tensor]
"""A generator as a function of the latent alone: its condition, if it has one, is bound."""


@dataclass(frozen=True)
class Bound:
    """A network as a function of its first input alone, as :data:`Score` and :data:`Generate` are.

    ``network`` is the network itself, whose weights are trainable where a penalty is asked for: what a penalty on
    weights or on features needs.
    """

    network: nn.Module
    function: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the scores of samples, or the samples of latents."""
        return self.function(x)


class Stateful:
    """Base of what may keep numbers between steps; checkpoints save and restore them."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept between steps: tensors, numbers, strings, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        return


class LossConfig(BaseModel):
    """Base of the settings of a loss."""

    model_config = ConfigDict(extra="forbid", frozen=True)


LossSettings = TypeVar("LossSettings", bound=LossConfig, default=LossConfig, covariant=True)


class Loss(Configured[LossSettings], Stateful, ABC):
    """An adversarial loss: what each network minimizes, given raw scores of any shape, batch first.

    ``critic_steps`` is the number of discriminator steps for each generator step in the loss's paper. ``betas`` are the
    decays that the paper gives Adam. Both are used where neither the model nor the user sets them; the defaults are
    DCGAN's (arXiv:1511.06434). ``regularizers`` are part of the loss (key to settings) and are added with it.
    """

    critic_steps: ClassVar[int] = 1
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)
    regularizers: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the scalar that the discriminator minimizes."""

    @abstractmethod
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return the scalar that the generator minimizes; ``real`` is None unless :attr:`needs_real` is set."""

    def after(self, real: Tensor, fake: Tensor) -> Mapping[str, Tensor]:
        """Update the loss's state from the scores of a discriminator step (no gradient); return values to log.

        For losses that keep something between steps (BEGAN's k); does nothing by default.
        """
        return {}

    def check(self, discriminator: nn.Module) -> None:
        """Raise :class:`~ganzoo.UserError` if the loss makes no sense for this discriminator."""
        return

    needs_real: ClassVar[bool] = False
    """Whether the generator's loss looks at the scores of real samples, as relativistic losses do."""

    signed: ClassVar[bool] = True
    """Whether the discriminator is asked for scores above 0 for real and below 0 for fake samples."""


class RegularizerConfig(BaseModel):
    """Settings that every regularizer has: its weight, and every how many steps it is applied.

    A lazy regularizer (interval above 1) is applied with its weight times the interval, so that the average is kept
    (StyleGAN2, arXiv:1912.04958, appendix B).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(1.0, ge=0, description="weight of the penalty; 0: the regularizer is off")
    interval: int = Field(1, ge=1, description="steps from one application to the next")


Settings = TypeVar("Settings", bound=RegularizerConfig, default=RegularizerConfig, covariant=True)


class Regularizer(Configured[Settings], Stateful, ABC):
    """A penalty on the discriminator, or a projection of its weights after each of its steps, or both."""

    before_augmentation: ClassVar[bool] = False
    """Whether the penalty is given samples as they are before augmentation, and a ``score`` that augments them first,
    each time in another random way; otherwise the samples are augmented, and ``score`` is the discriminator alone."""

    @abstractmethod
    def penalty(self, score: Bound, real: Tensor, fake: Tensor) -> Tensor | None:
        """Return the scalar penalty, without its weight, or None if there is none.

        ``score`` is the discriminator as a function of samples; ``score.network`` is the discriminator, for penalties
        on its weights. ``real`` and ``fake`` are samples of equal shape, batch first, without gradient.
        """

    def project(self, discriminator: nn.Module) -> None:
        """Change the weights in place after a step of the discriminator (weight clipping); does nothing by default."""
        return

    def check(self, discriminator: nn.Module) -> None:
        """Raise :class:`~ganzoo.UserError` if the penalty makes no sense for this discriminator."""
        return


class GeneratorRegularizer(Configured[Settings], Stateful, ABC):
    """A penalty on the generator: added to its loss, or, with an interval above 1, applied in a phase of its own."""

    @abstractmethod
    def penalty(self, generate: Bound, z: Tensor) -> Tensor:
        """Return the scalar penalty, without its weight, for latents ``z`` [N, ...], which have no gradient.

        ``generate`` is the generator as a function of latents; ``generate.network`` is the generator, for penalties on
        its weights.
        """

    def check(self, generator: nn.Module) -> None:
        """Raise :class:`~ganzoo.UserError` if the penalty makes no sense for this generator."""
        return
