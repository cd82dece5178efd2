"""Consistency: a sample and a slightly changed copy of it should get the same score."""

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Regularizer, RegularizerConfig, Score

__all__ = ["Consistency", "ConsistencyConfig"]


class ConsistencyConfig(RegularizerConfig):
    """Settings of consistency regularization."""

    weight: float = Field(10.0, ge=0, description="weight of the penalty")
    fake: bool = Field(False, description="apply the penalty to fake samples too (balanced, bCR)")
    flip: bool = Field(False, description="images: half of them are mirrored left to right (not for digits or letters)")
    shift: int = Field(4, ge=0, description="images: largest shift in pixels, in each direction")
    jitter: float = Field(0.1, ge=0, description="other samples: standard deviation of the normal noise that is added")


class Consistency(Regularizer[ConsistencyConfig]):
    """E[||D(x) - D(T(x))||^2] at real samples (Consistency Regularization for Generative Adversarial Networks,
    arXiv:1910.12027), and with ``fake`` also E[||D(G(z)) - D(T(G(z)))||^2], with the same weight (Improved Consistency
    Regularization for GANs, arXiv:2002.04724: bCR).

    D is the raw score, and a map of scores counts by its sum of squares. T mirrors images [N, C, H, W] if ``flip`` is
    set and shifts them by up to ``shift`` whole pixels, with the border repeated. The paper does both, but mirrored
    digits are not digits, so ``flip`` is off by default. For samples of other shapes, which the paper does not treat,
    T adds normal noise.
    """

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean squared difference of scores at real samples, plus that at fake ones if they count."""
        value = self._difference(score, real)
        return value + self._difference(score, fake) if self.config.fake else value

    def change(self, x: Tensor) -> Tensor:
        """Return T(x): images [N, C, H, W] shifted and mirrored at random, other samples [N, ...] with noise."""
        if x.dim() != 4:
            return x + self.config.jitter * torch.randn_like(x)
        n, _, height, width = x.shape
        rows, columns = self._moved(n, height, x.device), self._moved(n, width, x.device)
        if self.config.flip:
            columns = torch.where(torch.rand(n, 1, device=x.device) < 0.5, columns.flip(1), columns)
        # One gather with an index for each sample does all shifts and flips at once, without a loop over the batch.
        every = torch.arange(n, device=x.device)[:, None, None]
        return x[every, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def _moved(self, n: int, size: int, device: torch.device) -> Tensor:
        """Return, for each sample and place, the place where its pixel comes from [N, size]."""
        reach = self.config.shift
        move = torch.randint(-reach, reach + 1, (n, 1), device=device)
        return (torch.arange(size, device=device) + move).clamp(0, size - 1)

    def _difference(self, score: Score, x: Tensor) -> Tensor:
        difference = score(x) - score(self.change(x))
        return difference.reshape(len(x), -1).square().sum(1).mean()
