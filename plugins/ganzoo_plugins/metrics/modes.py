"""Mode coverage for mixtures of Gaussians."""

import math
from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from ganzoo import Dataset, Metric, MetricConfig, UserError

__all__ = ["Mixture", "Modes"]


@runtime_checkable
class Mixture(Protocol):
    """What a data set has that the metric ``modes`` can be computed on: it is a mixture of round Gaussians."""

    centers: Tensor
    """The means of the Gaussians, float32 [modes, D]."""

    sigma: float
    """The standard deviation of each in every dimension."""


class Modes(Metric):
    """Modes covered, high-quality share and KL, by PacGAN's counting (arXiv:1712.04086, section 4.1).

    A sample is of high quality if it lies within 3 sigma of the nearest mode's center; a mode is covered if it is the
    nearest of at least one such sample. A perfect sampler of two-dimensional data would get 98.9% (1 - exp(-9/2)).
    ``kl`` is KL(p || uniform) in nats for the distribution p of the high-quality samples over the modes, and the most
    that it can be, the logarithm of the number of modes, if there is no such sample.
    """

    better: ClassVar = {"covered": "higher", "high_quality": "higher", "kl": "lower"}

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if not isinstance(dataset, Mixture):
            raise UserError(f"it needs a mixture with known centers, such as gaussians, not {dataset.spec.name}")
        self.centers, self.sigma = dataset.centers, dataset.sigma

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return ``covered``, ``of``, ``high_quality`` (0..1) and ``kl`` of samples [N, D]."""
        # Only samples near a mode count for coverage and KL: those between the modes belong to none.
        distance, nearest = torch.cdist(samples, self.centers).min(dim=1)
        good = nearest[distance <= 3 * self.sigma]
        counts = torch.bincount(good, minlength=len(self.centers)).double()
        share = counts / counts.sum().clamp(min=1)
        kl = math.log(len(self.centers)) - torch.special.entr(share).sum()
        return {
            "covered": float((counts > 0).sum()),
            "of": float(len(self.centers)),
            "high_quality": len(good) / len(samples),
            "kl": float(kl),
        }

    def reference(self) -> dict[str, float]:
        """Return what as many points get that are drawn from the mixture itself: a perfect sampler."""
        rng = torch.Generator().manual_seed(1)
        modes = torch.randint(len(self.centers), (self.config.samples,), generator=rng)
        noise = torch.randn(self.config.samples, self.centers.shape[1], generator=rng)
        return self(self.centers[modes] + self.sigma * noise, {})
