"""A metric: how far samples are from each other, which shows a collapse."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ganzoo import Metric


class PairDistance(Metric):
    """The mean Euclidean distance of two samples; where the generator always draws the same, it is 0."""

    better = {"pair_distance": "as real"}

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return it for samples [N, ...], images in 0..255."""
        return {"pair_distance": torch.pdist(samples.flatten(1)).mean().item()}

    def reference(self) -> dict[str, float]:
        """Return it for as many real samples, from the whole data set."""
        real = self.dataset.examples(self.config.samples)[self.dataset.spec.sample.name]
        return self(real.float(), {})
