"""Whether conditional models draw what they were asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Label, Metric, MetricConfig, Signature, UserError
from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig, doubt, gather, to_uint8
from ganzoo_plugins.metrics.extractors import require_images

__all__ = ["LabelAccuracy"]


class LabelAccuracy(Metric):
    """The share of samples whose class is the one that they were drawn for, 0..1: a figure for every label.

    Data sets may bring a judge of their own, a method ``judge(images) -> dict`` that takes uint8 images [N, C, H, W]
    and returns what it measures, int64 [N] for a label, by the name of the field (-1: no class); the figure is then
    named after the field. Otherwise the data set's classifier judges (:class:`Evaluator`) and the figure is named after
    it. The floor is how often the judge agrees with the labels of real images: of ``samples`` random ones, or of the
    tenth that the classifier has not learnt. Where a judge errs, a perfect sampler does no better.
    """

    conditional = True
    better: ClassVar = {"": "higher"}

    class Config(MetricConfig):
        """The settings of :class:`LabelAccuracy`."""

        classifier: EvaluatorConfig = Field(EvaluatorConfig(), description="the classifier's training")

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.image = require_images(dataset)
        self.labels = [field for field in dataset.spec.fields if isinstance(field, Label)]
        if not self.labels:
            raise UserError(f"{dataset.spec.name} has no labels that samples could be drawn for; take another metric")
        self.own = getattr(dataset, "judge", None)
        self.judges = {} if self.own else {y.name: Evaluator(dataset, config.classifier, y.name) for y in self.labels}
        self.asked: tuple[str, ...] = (self.labels[0].name,)  # the labels that the model takes; the last call says it
        self._real: dict[tuple[str, ...], tuple[dict[str, float], dict[str, float]]] = {}

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
        return self._own_floor()[0]

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

    def doubts(self) -> Sequence[str]:
        """Return what speaks against those who judge."""
        if not self.own:
            return [sentence for name in self.asked for sentence in self.judges[name].doubts()]
        right, chance = self._own_floor()
        images, found = min(self.config.samples, len(self.dataset)), []
        for name in self.asked:
            who = f"the judge of {self.dataset.spec.name} for {name!r}"
            found += doubt(who, right[name], chance[name], images, "look at the samples themselves")
        return found

    def _own_floor(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return how often the data set's own judge is right about real images, and a constant guess, by label."""
        if self.asked in self._real:
            return self._real[self.asked]
        rng = torch.Generator().manual_seed(1)
        rows = torch.randperm(len(self.dataset), generator=rng)[: self.config.samples]
        images, *labels = gather(self.dataset, rows, self.image.name, *self.asked)
        wanted = dict(zip(self.asked, labels, strict=True))
        chance = {name: int(torch.bincount(values).max()) / len(values) for name, values in wanted.items()}
        self._real[self.asked] = self._agree(images, wanted), chance
        return self._real[self.asked]

    def _agree(self, images: Tensor, labels: Mapping[str, Tensor]) -> dict[str, float]:
        measured = self.own(images) if self.own else {}
        figures = {}
        for name, wanted in labels.items():
            if self.own and name not in measured:
                raise UserError(f"the judge of {self.dataset.spec.name} says nothing about its label {name!r}")
            got = measured[name] if self.own else self.judges[name].extract(images).logits.argmax(dim=1)
            figures[name if self.own else self.judges[name].name] = float((got == wanted).double().mean())
        return figures
