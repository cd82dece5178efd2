"""Whether conditional models draw what they were asked for."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Label, Metric, MetricConfig, Signature, UserError
from ganzoo_plugins.metrics.extractors import require_images
from ganzoo_plugins.metrics.judge import Judge, JudgeConfig, gather, to_uint8

__all__ = ["LabelAccuracy"]


class LabelAccuracy(Metric):
    """The share of samples whose class is the one that they were drawn for, 0..1: a figure for every label.

    Data sets may bring a judge of their own, a method ``judge(images) -> dict`` that takes uint8 images [N, C, H, W]
    and returns what it measures, int64 [N] for a label, by the name of the field (-1: no class); the figure is then
    named after the field. Otherwise the data set's classifier judges (:class:`Judge`) and the figure is named after
    it. The floor is how often the judge agrees with the labels of real images: of ``samples`` random ones, or of the
    tenth that the classifier has not learnt. Where a judge errs, a perfect sampler does no better.
    """

    conditional = True

    class Config(MetricConfig):
        """The settings of :class:`LabelAccuracy`."""

        classifier: JudgeConfig = Field(JudgeConfig(), description="the classifier's training")

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.image = require_images(dataset)
        self.labels = [field for field in dataset.spec.fields if isinstance(field, Label)]
        if not self.labels:
            raise UserError(f"{dataset.spec.name} has no labels that samples could be drawn for; take another metric")
        self.own = getattr(dataset, "judge", None)
        self.judges = {} if self.own else {y.name: Judge(dataset, config.classifier, y.name) for y in self.labels}
        self.asked: tuple[str, ...] = (self.labels[0].name,)  # the labels that the model takes; the last call says it

    def check(self, signature: Signature) -> None:
        """Refuse a network that is told none of the data's labels."""
        super().check(signature)
        if not {field.name for field in self.labels} & {field.name for field in signature.inputs}:
            raise UserError("it judges samples drawn for a label, and this model takes none")

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the accuracy for each label in the condition, int64 [N]; at least one must be there."""
        asked = tuple(field.name for field in self.labels if field.name in condition)
        if not asked:
            raise UserError(
                "label_accuracy judges samples drawn for a label, and this model takes none; leave the metric out"
            )
        self.asked = asked
        return self._agree(to_uint8(samples), {name: condition[name] for name in asked})

    def floor(self) -> dict[str, float]:
        """Return how often the judge is right about real images."""
        if not self.own:
            return {self.judges[name].name: self.judges[name].accuracy for name in self.asked}
        rng = torch.Generator().manual_seed(1)
        rows = torch.randperm(len(self.dataset), generator=rng)[: self.config.samples]
        images, *labels = gather(self.dataset, rows, self.image.name, *self.asked)
        return self._agree(images, dict(zip(self.asked, labels, strict=True)))

    def prepare(self, *, quiet: bool = False) -> None:
        """Load the classifier, or train it."""
        for name in self.asked if not self.own else ():
            self.judges[name].prepare(quiet=quiet)

    def facts(self) -> dict[str, Any]:
        """Return who judges."""
        if self.own:
            return {"judge": f"the data set {self.dataset.spec.name} itself"}
        facts = [self.judges[name].facts() for name in self.asked]
        return facts[0] if len(facts) == 1 else {"judges": facts}

    def _agree(self, images: Tensor, labels: Mapping[str, Tensor]) -> dict[str, float]:
        measured = self.own(images) if self.own else {}
        figures = {}
        for name, wanted in labels.items():
            if self.own and name not in measured:
                raise UserError(f"the judge of {self.dataset.spec.name} says nothing about its label {name!r}")
            got = measured[name] if self.own else self.judges[name].extract(images).logits.argmax(dim=1)
            figures[name if self.own else self.judges[name].name] = float((got == wanted).double().mean())
        return figures
