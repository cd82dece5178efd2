"""The energy distance between samples and the data."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Metric, MetricConfig


class ExampleKeyConfig(MetricConfig):
    """Settings of the metric; ``samples``, how many are drawn for it, is one of every metric."""

    real: int = Field(2500, ge=2, le=50_000, description="real samples that are compared with, at most")


class ExampleKey(Metric[ExampleKeyConfig]):
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| for samples X and real samples Y: 0 if they have the same distribution.

    |.| is the Euclidean norm of a whole sample (Székely and Rizzo, Energy statistics, 2013). X' and Y' are other
    samples than X and Y, so that the expectation is right for any number of them; near 0 it can be negative.
    """

    better: ClassVar = {"distance": "lower"}

    def __init__(self, config: ExampleKeyConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        # Random but fixed rows: the first of a data set that is sorted by class would be of one class.
        rows = dataset.order(torch.Generator().manual_seed(0))
        self.rows = rows[: config.real]

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return ``distance`` for samples [N, ...]."""
        return {"distance": energy_distance(samples, self.data(self.rows))}

    def reference(self) -> dict[str, float]:
        """Return the distance of one half of the real samples from the other half."""
        one, other = self.rows.tensor_split(2)
        return {"distance": energy_distance(self.data(one), self.data(other))}

    def data(self, rows: Tensor) -> Tensor:
        """Return the real samples of these rows, float32 [N, ...]."""
        batch = self.dataset.batch(rows, torch.Generator().manual_seed(0))
        return batch[self.dataset.spec.sample.name].float()


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Return the energy distance between samples [N, ...] and [M, ...]; nan if there are fewer than two of one."""
    x, y = x.flatten(1), y.flatten(1)
    within = [torch.cdist(part, part).sum() / (len(part) * (len(part) - 1)) for part in (x, y) if len(part) > 1]
    return float(2 * torch.cdist(x, y).mean() - sum(within)) if len(within) == 2 else float("nan")
