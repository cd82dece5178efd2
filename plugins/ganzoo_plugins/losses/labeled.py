"""Base of the losses that compare each score with a label, with smoothed and noisy labels."""

from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus
from typing_extensions import TypeVar

from ganzoo import Loss, LossConfig

__all__ = ["CrossEntropy", "LabelConfig", "LabeledLoss", "SmoothedLabelConfig"]


class LabelConfig(LossConfig):
    """Settings of the labels that the discriminator learns from."""

    label_noise: float = Field(
        0.0, ge=0, le=1, description="probability that a sample has the wrong label in a discriminator step"
    )


class SmoothedLabelConfig(LabelConfig):
    """Settings of labels that are numbers: 1 for real, 0 for fake."""

    smoothing: float = Field(
        0.0, ge=0, lt=1, description="the discriminator's label of real samples is 1 less this; of fake ones it stays 0"
    )


Settings = TypeVar("Settings", bound=LabelConfig, default=LabelConfig, covariant=True)


class LabeledLoss(Loss[Settings]):
    """The discriminator minimizes E[as_real(D(x))] + E[as_fake(D(G(z)))].

    With ``label_noise`` p, the label of each sample is wrong with probability p; the sample stays in its term. This is
    a trick from Soumith Chintala's "How to Train a GAN?" (github.com/soumith/ganhacks, number 6), not from a paper. In
    expectation the real term is then (1 - p) as_real + p as_fake, and the fake one likewise.
    """

    @abstractmethod
    def as_real(self, scores: Tensor) -> Tensor:
        """Return the loss of each score if its sample is called real, in the scores' shape."""

    @abstractmethod
    def as_fake(self, scores: Tensor) -> Tensor:
        """Return the loss of each score if its sample is called fake, in the scores' shape."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the sum of the means of both terms."""
        of_real, of_fake = self.as_real(real), self.as_fake(fake)
        # Each term keeps its own samples and mean, so that a batch with few flips does not change the terms' weights.
        if self.config.label_noise:
            of_real = torch.where(self._swapped(real), self.as_fake(real), of_real)
            of_fake = torch.where(self._swapped(fake), self.as_real(fake), of_fake)
        return of_real.mean() + of_fake.mean()

    def _swapped(self, scores: Tensor) -> Tensor:
        """Draw which labels are wrong, [N, 1, ...]: one draw for each sample, also where it has a map of scores."""
        return torch.rand(len(scores), *[1] * (scores.dim() - 1), device=scores.device) < self.config.label_noise


class CrossEntropy(LabeledLoss[SmoothedLabelConfig]):
    """The discriminator minimizes the cross entropy of sigmoid(score) with its label, in a form that does not overflow.

    A label t costs -t log sigmoid(s) - (1 - t) log(1 - sigmoid(s)) = softplus(s) - t s. ``smoothing`` is the one-sided
    label smoothing of Improved Techniques for Training GANs (arXiv:1606.03498, section 3.4), where the label of real
    samples is, for instance, 0.9 and that of fake ones stays 0.
    """

    def as_real(self, scores: Tensor) -> Tensor:
        """Return the cross entropy with the label 1 - smoothing."""
        # softplus(s) - t s with t = 1 - smoothing, and softplus(s) - s = softplus(-s).
        return softplus(-scores) + self.config.smoothing * scores

    def as_fake(self, scores: Tensor) -> Tensor:
        """Return the cross entropy with the label 0."""
        # Not smoothed: a fake label above 0 would make the discriminator's optimum favor the generator's present
        # samples where there is no data (arXiv:1606.03498, section 3.4).
        return softplus(scores)
