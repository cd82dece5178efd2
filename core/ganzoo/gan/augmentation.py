"""Differentiable augmentation of the images that the discriminator sees, real and generated alike."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Augment", "AugmentConfig"]

Policy = Literal["color", "translation", "cutout"]


class AugmentConfig(BaseModel):
    """Settings of differentiable augmentation; an empty policy is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: tuple[Policy, ...] = Field((), description="any of color, translation and cutout, in this order")
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
    """Color, translation and cutout that gradients pass through (Differentiable Augmentation, arXiv:2006.10738).

    It is applied to real and generated images, in the steps of both networks. If only real images were augmented, the
    generator would learn to draw the augmentation. ``probability`` is fixed, or adapted to the sign of the real scores,
    a measure of overfitting (Training Generative Adversarial Networks with Limited Data, arXiv:2006.06676, section 3).
    """

    def __init__(self, config: AugmentConfig, pixel_range: tuple[float, float]) -> None:
        low, high = pixel_range
        self.config = config
        self.half = (high - low) / 2
        # Adaptive, it is a tensor that is moved where the scores are: its value is never read during training.
        self._probability: float | Tensor = config.probability if config.target is None else torch.zeros(())
        self._parts: dict[str, Callable[[Tensor], Tensor]] = {
            "color": self._color,
            "translation": _translation,
            "cutout": _cutout,
        }

    @property
    def probability(self) -> float:
        """The chance of each change for each image."""
        return float(self._probability)

    @probability.setter
    def probability(self, value: float) -> None:
        self._probability = value if self.config.target is None else torch.tensor(value)

    def __call__(self, x: Tensor) -> Tensor:
        """Return images [N, C, H, W] of the same range, each changed in its own random way."""
        for name in self.config.policy:
            # Every image is changed, then some changes are dropped: selecting rows first would give tensors of random
            # sizes, which are slow on a GPU, and would draw a different number of random values.
            changed = self._parts[name](x)
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

    def _color(self, x: Tensor) -> Tensor:
        """Shift brightness by up to a quarter of the range, scale saturation by 0 to 2 and contrast by 0.5 to 1.5."""
        # Alpha is not a color: it says where the image is, and brightness would make transparent parts opaque.
        if x.shape[1] == 4:
            return torch.cat([self._color(x[:, :3]), x[:, 3:]], dim=1)
        brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device)
        x = x + (brightness - 0.5) * self.half
        if x.shape[1] > 1:
            gray = x.mean(dim=1, keepdim=True)
            x = torch.lerp(gray, x, 2 * saturation)
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return torch.lerp(mean, x, 0.5 + contrast)


def _translation(x: Tensor) -> Tensor:
    """Move each image by up to an eighth of its size in each direction; the free border is filled with zeros."""
    n, _, height, width = x.shape
    reach_y, reach_x = (height + 4) // 8, (width + 4) // 8
    rows = torch.randint(2 * reach_y + 1, (n, 1, 1), device=x.device) + torch.arange(height, device=x.device)[:, None]
    columns = torch.randint(2 * reach_x + 1, (n, 1, 1), device=x.device) + torch.arange(width, device=x.device)
    # One gather with an index for each image replaces a loop over the batch; gradients flow through indexing.
    padded = pad(x, (reach_x, reach_x, reach_y, reach_y)).permute(0, 2, 3, 1)
    return padded[torch.arange(n, device=x.device)[:, None, None], rows, columns].permute(0, 3, 1, 2)


def _cutout(x: Tensor) -> Tensor:
    """Set a random rectangle of half the height and width to zero; it may reach over the border."""
    n, _, height, width = x.shape

    def covered(size: int) -> Tensor:
        middle = torch.randint(size + 1, (n, 1), device=x.device)
        place = torch.arange(size, device=x.device)
        return (place >= middle - size // 4) & (place < middle - size // 4 + size // 2)

    hole = covered(height)[:, None, :, None] & covered(width)[:, None, None, :]
    return x.masked_fill(hole, 0.0)
