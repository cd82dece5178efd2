"""The interface of metrics on samples."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ganzoo.data import Dataset

__all__ = ["Metric", "MetricConfig"]


class MetricConfig(BaseModel):
    """Settings that every metric has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int = Field(2500, ge=1, description="how many samples are drawn for it")


class Metric(ABC):
    """Figures about samples, given the data set that they imitate.

    Raises :class:`~ganzoo.UserError` when made for a data set that it cannot judge.
    """

    Config: ClassVar[type[MetricConfig]] = MetricConfig

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        self.config = config
        self.dataset = dataset

    @abstractmethod
    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figures by name for float32 samples [N, ...] on the CPU, images in 0..255 as the data has them.

        ``condition`` holds the labels and attributes that each sample was drawn for, [N, ...] by the name of their
        field; it is empty for an unconditional model. Raises :class:`~ganzoo.UserError` if it is needed and missing.
        """

    def floor(self) -> dict[str, float]:
        """Return what as many real samples get, held out from the reference, by the same names; {} if unknown."""
        return {}
