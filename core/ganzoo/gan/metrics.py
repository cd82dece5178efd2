"""The interface of metrics on samples."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from typing_extensions import TypeVar

from ganzoo.configured import Configured
from ganzoo.data.dataset import Dataset
from ganzoo.errors import UserError
from ganzoo.fields import Signature
from ganzoo.gan.sampler import Sampler

__all__ = ["Direction", "Metric", "MetricConfig"]

Direction = Literal["higher", "lower", "as real"]
"""What is better: more, less, or to be as near as possible to what real samples get."""


class MetricConfig(BaseModel):
    """Settings that every metric has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int = Field(2500, ge=1, le=10_000_000, description="how many samples are drawn for it")


Settings = TypeVar("Settings", bound=MetricConfig, default=MetricConfig, covariant=True)


class Metric(Configured[Settings], ABC):
    """Figures about samples, given the data set that they imitate.

    The constructor raises :class:`~ganzoo.UserError` for a data set that the metric cannot evaluate, and is cheap: slow
    work, such as training a classifier, is done by :meth:`prepare` or the first call.

    ``conditional`` says that samples are compared with the condition they were drawn for, so the metric does not apply
    to a model that takes only latents. ``default_for`` names kinds of samples (:attr:`ganzoo.Field.kind`, such as
    ``"image"``). :func:`ganzoo.evaluate` computes the metric by default for these kinds, in the order of the registry,
    where neither the user nor the data set names metrics; a ``conditional`` one only for conditional models.

    ``better`` gives the good direction of each figure, by its name or the last part of it (``precision`` of
    ``classifier_digits/precision``); ``""`` stands for all others. A figure that it does not name, such as a count that
    others are compared with, has no direction.
    """

    conditional: ClassVar[bool] = False
    default_for: ClassVar[tuple[str, ...]] = ()
    better: ClassVar[Mapping[str, Direction]] = {}

    def __init__(self, config: Settings, dataset: Dataset) -> None:
        super().__init__(config)
        self.dataset = dataset

    def check(self, signature: Signature) -> None:
        """Raise :class:`~ganzoo.UserError` if the metric does not apply to a network of this signature."""
        if self.conditional and not signature.conditions:
            raise UserError("it compares samples with the condition they are drawn for, and this model takes none")

    @abstractmethod
    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figures by name for float32 samples [N, ...] on the CPU, images in 0..255 as the data has them.

        ``condition`` holds the labels and attributes that each sample was drawn for, [N, ...] by the name of their
        field; it is empty for an unconditional model. Raises :class:`~ganzoo.UserError` if it is needed and missing.
        """

    def probe(self, sampler: Sampler, seed: int) -> dict[str, float]:
        """Return figures, beside those of a call, of samples that the metric draws itself; by default there are none.

        This is for what depends on which latents give which samples. ``sampler`` is the model's, and gives samples in
        the range of the model (the output of its signature decodes them); what is drawn depends on ``seed`` alone. It
        is asked only of models that draw samples from latents and conditions.
        """
        return {}

    def reference(self) -> dict[str, float]:
        """Return what as many real samples get, held out where possible, by the same names; {} if unknown."""
        return {}

    def prepare(self, *, quiet: bool = False) -> None:
        """Do what must be done once before samples are evaluated, with progress on stderr unless ``quiet``.

        A call that has not been prepared does it quietly. torch's global random state is left as it was.
        """

    def metadata(self) -> dict[str, Any]:
        """Return, as plain data, what is needed to compare the figures: which evaluator was used, and its accuracy."""
        return {}

    def warnings(self) -> Sequence[str]:
        """Return, a sentence each, why the figures say little, such as a poor classifier; called after them.

        The same sentence from several metrics is shown once.
        """
        return []

    @classmethod
    def direction(cls, figure: str) -> Direction | None:
        """Return which way is good for the figure of this name, with or without the metric's key before it."""
        return cls.better.get(figure.rpartition("/")[2], cls.better.get(""))

    def draw(self, folder: Path, samples: Tensor) -> list[Path]:
        """Draw what the metric has to show of samples, as a call takes them, into the folder; return the files."""
        return []
