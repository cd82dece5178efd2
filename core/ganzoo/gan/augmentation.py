"""Differentiable augmentation of the images that the discriminator sees, real and generated alike."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import pi
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor
from typing_extensions import TypeVar

from ganzoo.configured import Configured, Named
from ganzoo.errors import GanzooError, UserError, is_out_of_memory, place, sentence
from ganzoo.gan.whole_batch import whole_batch

__all__ = ["Augment", "AugmentConfig", "Augmentation", "AugmentationConfig"]


class AugmentationConfig(Named):
    """Which augmentation it is; one with settings extends it."""

    kind: ClassVar[str] = "augmentation"

    name: str = Field("", description="which augmentation; 'ganzoo list augmentation' shows them")


Settings = TypeVar("Settings", bound=AugmentationConfig, default=AugmentationConfig, covariant=True)


class Augmentation(Configured[Settings], ABC):
    """A random change of images that gradients pass through.

    It is applied to real and generated images alike, in each phase. It draws from torch's default generator, on the
    images' device, as many numbers whatever the images are, reads no value of a tensor and keeps nothing between calls:
    so it can be captured as part of a CUDA graph, and a resumed training goes on as it was.
    """

    largest: ClassVar[float] = 1.0
    """The largest fixed probability that is allowed: with more, generated images would look augmented themselves."""

    def __init__(self, config: Settings, pixel_range: tuple[float, float]) -> None:
        super().__init__(config)
        self.pixel_range = pixel_range

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Return images [N, C, H, W] of the same shape, each changed in its own random way; ``x`` stays as it is.

        Values are in ``pixel_range``, with 1, 3 or 4 channels; the last of 4 says how opaque a pixel is.
        """

    def apply(self, x: Tensor, probability: float | Tensor) -> Tensor:
        """Return images of which each has been changed with this probability, a number or a scalar on its device.

        An augmentation of several transforms that are drawn independently extends it; its :meth:`__call__` is all of
        them.
        """
        # Every image is changed, then some changes are dropped: selecting rows first would give tensors of random
        # sizes, which are slow on a GPU, and would draw a different number of random values.
        changed = self(x)
        if isinstance(probability, Tensor) or probability < 1:
            if changed.shape != x.shape:
                return changed  # which is refused
            chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < probability
            changed = torch.where(chosen, changed, x)
        return changed


INTERVAL = 4
"""Batches whose signs are averaged before the probability is moved."""


class AugmentConfig(BaseModel):
    """Settings of differentiable augmentation; an empty policy is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: tuple[AugmentationConfig, ...] = Field(
        (), description="augmentations in this order: names, or tables of a name and its settings; a name alone is one"
    )
    probability: float = Field(1.0, ge=0, le=1, description="chance of each of them for each image")
    ramp: int = Field(
        0, ge=0, description="images over which that chance rises from 0, along half a cosine (arXiv:2501.05441)"
    )
    target: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="adaptive strength: the probability starts at 0 and is steered so that the mean sign of real "
        "scores stays here (0.6 in the paper)",
    )
    images: int = Field(
        500_000,
        ge=1,
        description="adaptive: after how many images the probability can have gone from 0 to 1; fewer, 100000, for "
        "short trainings and to fine-tune",
    )

    @model_validator(mode="after")
    def _one_course(self) -> Self:
        if self.ramp and self.target is not None:
            raise ValueError("the probability follows a target or a ramp; leave one of them out")
        return self

    @field_validator("policy", mode="before")
    @classmethod
    def _listed(cls, policy: Any) -> Any:
        return [policy] if isinstance(policy, str | Mapping | AugmentationConfig) else policy


class Augment:
    """Applies a policy of augmentations (Differentiable Augmentation, arXiv:2006.10738).

    It is applied to real and generated images, in the steps of both networks, each with random changes of its own. If
    only real images were augmented, the generator would learn to draw the augmentation. ``probability`` is fixed, or
    rises to its value, or is adapted to the sign of the real scores, a measure of overfitting (Training Generative
    Adversarial Networks with Limited Data, arXiv:2006.06676, section 3).
    """

    def __init__(self, config: AugmentConfig, pixel_range: tuple[float, float]) -> None:
        self.config = config
        self.moves = config.target is not None or config.ramp > 0
        """Whether the probability changes during training."""
        # A tensor that is changed where the scores are, so that its values are never read during training: the
        # probability or how much of the ramp has passed, the signs of the batches since the last move, their number.
        self._state = torch.zeros(3)
        self._parts: list[tuple[str, Augmentation]] = [(each.name, each.make(pixel_range)) for each in config.policy]
        for name, augmentation in self._parts:
            if config.target is None and config.probability > augmentation.largest:
                raise UserError(
                    f"the augmentation {name!r} leaks into the samples if its probability is fixed above "
                    f"{augmentation.largest}; set augment.target=0.6, which adapts it, or augment.probability"
                )

    @property
    def probability(self) -> float:
        """The chance of each change for each image."""
        return float(self._probability())

    def __call__(self, x: Tensor) -> Tensor:
        """Return images [N, C, H, W] of the same range, each changed in its own random way."""
        if self._parts and self.moves:
            self._state = self._state.to(x.device)
        for name, augmentation in self._parts:
            x = _changed(name, augmentation, x, self._probability())
        return x

    def adapt(self, real_scores: Tensor, images: int) -> Mapping[str, Tensor]:
        """Move the probability after a discriminator step on so many real images, if it moves; return it for the log.

        Every four batches it goes by ``4 * images / config.images`` towards more augmentation if the mean sign of their
        real scores is above the target, and back if it is below. It stays within 0 and 1: the authors' code lets it
        grow beyond 1, which augments no more, and has to be undone first.
        """
        if not self.moves:
            return {}
        self._state = self._state.to(real_scores.device)  # where it stays
        moved, signs, batches = self._state
        if self.config.target is None:
            moved.add_(images / self.config.ramp).clamp_(max=1)
        else:
            # r_t = E[sign(D(real))] of arXiv:2006.06676: near 1 when the discriminator recognizes its training images,
            # so more augmentation is needed. The step size is fixed, so the probability changes slowly.
            signs.add_(whole_batch(real_scores.detach()).float().sign().mean())
            batches.add_(1)
            due = batches >= INTERVAL
            direction = (signs / INTERVAL - self.config.target).sign() * due
            moved.add_(direction * (INTERVAL * images / self.config.images)).clamp_(0, 1)
            self._state[1:].mul_(~due)
        return {"augment_p": torch.as_tensor(self._probability()).clone()}

    def state_dict(self) -> float | list[float] | None:
        """Return what is kept between steps: None before the first, a fixed probability."""
        if not self.moves:
            return self.config.probability
        return self._state.tolist() if self._state.any() else None

    def load_state_dict(self, state: Any) -> None:
        """Take back what :meth:`state_dict` returned, or the adaptive probability alone, as older checkpoints have it.

        Raises ValueError if it is neither.
        """
        if not self.moves:
            return
        if state is None or isinstance(state, int | float):
            state = [float(state or 0), 0.0, 0.0]
        limits = (0, 1), (-INTERVAL, INTERVAL), (0, INTERVAL - 1)
        if not isinstance(state, list) or len(state) != len(limits):
            raise ValueError("trainer.augment is no state of an augmentation")
        for value, (low, high) in zip(state, limits, strict=True):
            if not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError("trainer.augment is no state of an augmentation")
        self._state.copy_(torch.tensor(state))

    def _probability(self) -> float | Tensor:
        if self.config.target is not None:
            return self._state[0]
        if self.config.ramp:
            return (1 - (pi * self._state[0]).cos()) * (self.config.probability / 2)
        return self.config.probability


def _changed(name: str, augmentation: Augmentation, x: Tensor, probability: float | Tensor) -> Tensor:
    """Return changed images; raises :class:`UserError`, in the augmentation's name, if it fails."""
    try:
        changed = augmentation.apply(x, probability)
        shape = changed.shape
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        if isinstance(error, GanzooError) or is_out_of_memory(error):
            raise
        raise UserError(f"the augmentation {name!r} fails: {sentence(error)[:300]}{place(error)}") from error
    if shape != x.shape:
        raise UserError(f"the augmentation {name!r} returns {list(shape)} for images {list(x.shape)}")
    return changed
