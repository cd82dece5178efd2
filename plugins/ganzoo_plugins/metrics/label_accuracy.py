"""Whether conditional models draw what they were asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Label, Metric, MetricConfig, Signature, UserError
from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig, accuracy_warnings, gather, to_uint8
from ganzoo_plugins.metrics.extractors import require_images

__all__ = ["LabelAccuracy", "Measures"]


@runtime_checkable
class Measures(Protocol):
    """A data set that tells the labels of images by itself, without a trained classifier."""

    def measure(self, images: Tensor) -> Mapping[str, Tensor]:
        """Return what can be seen in uint8 images [N, C, H, W], by the name of the field: int64 [N] for a label.

        -1 stands for an image that is of no class.
        """
        ...


class LabelAccuracy(Metric):
    """The share of samples whose class is the one that they were drawn for, 0..1: a figure for every label.

    Where the data set :class:`Measures` labels itself, the figure is named after the field. Otherwise a classifier
    that is trained on the data set evaluates (:class:`Evaluator`), and the figure is named after it. The reference is
    the accuracy of the measured labels on real images: on ``samples`` random ones, or on the tenth that the classifier
    was not trained on. A perfect sampler gets no higher accuracy than that.
    """

    conditional = True
    default_for = ("image",)
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
        self.own = dataset if isinstance(dataset, Measures) else None
        self.evaluators: dict[str, Evaluator] = {}
        if self.own is None:
            self.evaluators = {field.name: Evaluator(dataset, config.classifier, field.name) for field in self.labels}
        self.asked: tuple[str, ...] = (self.labels[0].name,)  # the labels that the model takes; the last call says it
        self._real: dict[tuple[str, ...], tuple[dict[str, float], dict[str, float]]] = {}

    def check(self, signature: Signature) -> None:
        """Refuse a network that takes none of the data's labels."""
        super().check(signature)
        if not {field.name for field in self.labels} & {field.name for field in signature.inputs}:
            raise UserError("it evaluates samples drawn for a label, and this model takes none")

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the accuracy for each label in the condition, int64 [N]; at least one must be there."""
        asked = tuple(field.name for field in self.labels if field.name in condition)
        if not asked:
            raise UserError(
                "label_accuracy evaluates samples drawn for a label, and this model takes none; leave the metric out"
            )
        self.asked = asked
        return self._agree(to_uint8(samples), {name: condition[name] for name in asked})

    def reference(self) -> dict[str, float]:
        """Return how often the measured labels of real images are right."""
        if self.own is None:
            return {self.evaluators[name].name: self.evaluators[name].accuracy for name in self.asked}
        return self._own_reference()[0]

    def prepare(self, *, quiet: bool = False) -> None:
        """Load the classifier, or train it."""
        for name in self.asked if self.own is None else ():
            self.evaluators[name].prepare(quiet=quiet)

    def metadata(self) -> dict[str, Any]:
        """Return what measures the labels."""
        if self.own is not None:
            return {"evaluator": f"the data set {self.dataset.spec.name} itself"}
        found = [self.evaluators[name].metadata() for name in self.asked]
        return found[0] if len(found) == 1 else {"evaluators": found}

    def warnings(self) -> Sequence[str]:
        """Return why the measured labels say little, if they do."""
        if self.own is None:
            return [sentence for name in self.asked for sentence in self.evaluators[name].warnings()]
        right, chance = self._own_reference()
        images, found = min(self.config.samples, len(self.dataset)), []
        for name in self.asked:
            what = f"what {self.dataset.spec.name} measures as {name!r}"
            found += accuracy_warnings(what, right[name], chance[name], images, "look at the samples themselves")
        return found

    def _own_reference(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return how often the data set itself is right about real images, and a constant guess, by label."""
        if self.asked in self._real:
            return self._real[self.asked]
        rng = torch.Generator().manual_seed(1)
        rows = self.dataset.order(rng)[: self.config.samples]
        images, *labels = gather(self.dataset, rows, self.image.name, *self.asked)
        wanted = dict(zip(self.asked, labels, strict=True))
        chance = {name: int(torch.bincount(values).max()) / len(values) for name, values in wanted.items()}
        self._real[self.asked] = self._agree(images, wanted), chance
        return self._real[self.asked]

    def _agree(self, images: Tensor, labels: Mapping[str, Tensor]) -> dict[str, float]:
        measured = self.own.measure(images) if self.own is not None else {}
        figures = {}
        for name, wanted in labels.items():
            if self.own is None:
                evaluator = self.evaluators[name]
                figure, found = evaluator.name, evaluator.extract(images).logits.argmax(dim=1)
            elif name in measured:
                figure, found = name, measured[name]
            else:
                raise UserError(f"the data set {self.dataset.spec.name} does not measure its label {name!r}")
            figures[figure] = float((found == wanted).double().mean())
        return figures
