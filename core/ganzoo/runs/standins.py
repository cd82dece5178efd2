"""Stand-ins for plugins that a finished run names and that are not installed: its networks load without them.

A loss, a regularizer, an optimizer, a data set ... decide how networks are trained, not their layers. Nothing here can
be used for training: only :meth:`ganzoo.Run.load_all` uses it, and returns networks alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ConfigDict
from torch import Tensor, nn, optim

from ganzoo.data.dataset import Batch, Dataset, DatasetConfig
from ganzoo.gan.augmentation import Augmentation, AugmentationConfig
from ganzoo.gan.losses import Loss, LossConfig, Regularizer, RegularizerConfig, Score
from ganzoo.gan.metrics import Metric, MetricConfig
from ganzoo.gan.optimizers import Optimizer, OptimizerConfig
from ganzoo.gan.schedules import Schedule, ScheduleConfig
from ganzoo.gan.tracker import Tracker, TrackerConfig

__all__ = [
    *("StandInAugmentation", "StandInDataset", "StandInLoss", "StandInMetric", "StandInOptimizer"),
    *("StandInRegularizer", "StandInSchedule", "StandInTracker"),
]

_ANY = ConfigDict(extra="ignore", frozen=True)


class StandInLoss(Loss):
    """Takes every discriminator, as a critic."""

    class Config(LossConfig):
        """Takes any settings."""

        model_config = _ANY

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return E[D(G(z))] - E[D(x)]: models may try their loss when they are made."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return -E[D(G(z))]."""
        return -fake.mean()


class StandInRegularizer(Regularizer):
    """Penalizes nothing."""

    class Config(RegularizerConfig):
        """Takes any settings."""

        model_config = _ANY

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        """Return None."""
        return None


class StandInAugmentation(Augmentation):
    """Changes nothing."""

    class Config(AugmentationConfig):
        """Takes any settings."""

        model_config = _ANY

    def __call__(self, x: Tensor) -> Tensor:
        """Return the images."""
        return x


class StandInOptimizer(Optimizer):
    """Is made with its trainer, and never steps."""

    class Config(OptimizerConfig):
        """Takes any settings."""

        model_config = _ANY

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """Return gradient descent."""
        return optim.SGD(parameters, self.config.lr)


class StandInSchedule(Schedule):
    """Leaves learning rates as they are."""

    class Config(ScheduleConfig):
        """Takes any settings."""

        model_config = _ANY

    def __call__(self, step: int, steps: int) -> float:
        """Return 1."""
        return 1.0


class StandInDataset(Dataset):
    """Is never made: a run keeps the spec of its data."""

    class Config(DatasetConfig):
        """Takes any settings."""

        model_config = _ANY

    def batch(self, indices: Tensor, rng: Any) -> Batch:
        """Return nothing."""
        return {}


class StandInMetric(Metric):
    """Is never made: a run keeps its figures."""

    class Config(MetricConfig):
        """Takes any settings."""

        model_config = _ANY

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return nothing."""
        return {}


class StandInTracker(Tracker):
    """Is never made."""

    class Config(TrackerConfig):
        """Takes any settings."""

        model_config = _ANY
