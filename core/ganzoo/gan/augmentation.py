"""Differentiable augmentation of the images that the discriminator sees, real and generated alike."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from typing_extensions import TypeVar

from ganzoo.configured import Configured, Named
from ganzoo.errors import GanzooError, UserError, is_out_of_memory, place, sentence

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

    def __init__(self, config: Settings, pixel_range: tuple[float, float]) -> None:
        super().__init__(config)
        self.pixel_range = pixel_range

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Return images [N, C, H, W] of the same shape, each changed in its own random way; ``x`` stays as it is.

        Values are in ``pixel_range``, with 1, 3 or 4 channels; the last of 4 says how opaque a pixel is.
        """


class AugmentConfig(BaseModel):
    """Settings of differentiable augmentation; an empty policy is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: tuple[AugmentationConfig, ...] = Field(
        (), description="augmentations in this order: names, or tables of a name and its settings"
    )
    probability: float = Field(1.0, ge=0, le=1, description="chance of each of them for each image")
    target: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="adaptive strength: the probability starts at 0 and is steered so that the mean sign of real "
        "scores stays here (0.6 in the paper)",
    )
    images: int = Field(
        100_000, ge=1, description="adaptive: after how many images the probability can have gone from 0 to 1"
    )


class Augment:
    """Applies a policy of augmentations (Differentiable Augmentation, arXiv:2006.10738).

    It is applied to real and generated images, in the steps of both networks. If only real images were augmented, the
    generator would learn to draw the augmentation. ``probability`` is fixed, or adapted to the sign of the real scores,
    a measure of overfitting (Training Generative Adversarial Networks with Limited Data, arXiv:2006.06676, section 3).
    """

    def __init__(self, config: AugmentConfig, pixel_range: tuple[float, float]) -> None:
        self.config = config
        # Adaptive, it is a tensor that is moved where the scores are: its value is never read during training.
        self._probability: float | Tensor = config.probability if config.target is None else torch.zeros(())
        self._parts: list[tuple[str, Augmentation]] = [(each.name, each.make(pixel_range)) for each in config.policy]

    @property
    def probability(self) -> float:
        """The chance of each change for each image."""
        return float(self._probability)

    @probability.setter
    def probability(self, value: float) -> None:
        self._probability = value if self.config.target is None else torch.tensor(value)

    def __call__(self, x: Tensor) -> Tensor:
        """Return images [N, C, H, W] of the same range, each changed in its own random way."""
        for name, augmentation in self._parts:
            # Every image is changed, then some changes are dropped: selecting rows first would give tensors of random
            # sizes, which are slow on a GPU, and would draw a different number of random values.
            changed = _changed(name, augmentation, x)
            if isinstance(self._probability, Tensor):
                self._probability = self._probability.to(x.device)
            if isinstance(self._probability, Tensor) or self._probability < 1:
                chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < self._probability
                changed = torch.where(chosen, changed, x)
            x = changed
        return x

    def adapt(self, real_scores: Tensor, images: int) -> None:
        """Move the probability after a discriminator step on so many real images, if its strength is adaptive."""
        if self.config.target is not None and isinstance(self._probability, Tensor):
            # r_t = E[sign(D(real))] of arXiv:2006.06676: near 1 when the discriminator recognizes its training images,
            # so more augmentation is needed. The step size is fixed, so the probability changes slowly.
            overfit = real_scores.detach().sign().mean() > self.config.target
            step = images / self.config.images
            self._probability = self._probability.to(real_scores.device)  # where it stays
            self._probability.add_((2 * overfit.float() - 1) * step).clamp_(0, 1)


def _changed(name: str, augmentation: Augmentation, x: Tensor) -> Tensor:
    """Return changed images; raises :class:`UserError`, in the augmentation's name, if it fails."""
    try:
        changed = augmentation(x)
        shape = changed.shape
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        if isinstance(error, GanzooError) or is_out_of_memory(error):
            raise
        raise UserError(f"the augmentation {name!r} fails: {sentence(error)[:300]}{place(error)}") from error
    if shape != x.shape:
        raise UserError(f"the augmentation {name!r} returns {list(shape)} for images {list(x.shape)}")
    return changed
