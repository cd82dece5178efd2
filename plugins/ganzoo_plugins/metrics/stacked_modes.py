"""Mode coverage for stacked digits: 1,000 modes."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, DataSpec, Image, Label, Metric, MetricConfig, TensorDataset, UserError
from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig, gather, to_uint8

__all__ = ["StackedDigits", "StackedModes"]


@runtime_checkable
class StackedDigits(Protocol):
    """What a data set has that the metric ``stacked_modes`` can be computed on."""

    digits: tuple[Tensor, Tensor]
    """The images, uint8 [M, 1, H, W], and labels, int64 [M], that are stacked as channels."""


class StackedModes(Metric):
    """Modes covered and KL on images of three digits, one a channel, as VEEGAN and PacGAN count (arXiv:1712.04086).

    A classifier of single digits reads each channel; the three digits are the mode, one of 1,000. ``covered`` is the
    number of modes with at least one sample, and ``kl`` KL(p || q) in nats of their distribution p over the modes from
    the data's, q: the product of the shares of the digits that the data set stacks. The papers draw 25,600 samples;
    even a perfect sampler has a KL of about 999 / (2 * samples), 0.02.

    The data set is one of :class:`StackedDigits`. The classifier is trained on nine tenths of the digits that it stacks
    (:class:`Evaluator`).
    """

    better: ClassVar = {"covered": "higher", "kl": "lower"}

    class Config(MetricConfig):
        """The settings of :class:`StackedModes`."""

        samples: int = Field(25_600, ge=1, description="how many samples are drawn for it")
        classifier: EvaluatorConfig = Field(
            EvaluatorConfig(), description="the training of the classifier of single digits"
        )

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        field = dataset.spec.sample
        if not isinstance(dataset, StackedDigits) or not isinstance(field, Image) or field.channels != 3:
            raise UserError(f"it needs three digits as channels, not {dataset.spec.name}")
        # A classifier of ten digits, applied to each channel, is far easier to train than one of 1,000 classes.
        images, labels = dataset.digits
        single = (Image(1, field.height, field.width, range=(0, 255)), Label(10))
        spec = DataSpec(f"{dataset.spec.name}_digits", single, len(images))
        self.evaluator = Evaluator(TensorDataset(spec, {"x": images, "y": labels}), config.classifier)
        share = torch.bincount(labels, minlength=10).double() / len(labels)
        if len(labels.unique()) != 10:
            raise UserError(
                f"the digits of {dataset.spec.name} have the classes {labels.unique().tolist()}, not 0 to 9"
            )
        # The three digits are drawn independently, so a mode's probability is the product of their shares.
        self.share = torch.einsum("i,j,k->ijk", share, share, share).flatten()

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return ``covered``, ``of`` and ``kl`` of samples [N, 3, H, W]."""
        return self._count(to_uint8(samples))

    def reference(self) -> dict[str, float]:
        """Return the figures of as many samples of the data set, random ones and with repetition."""
        rows = torch.randint(len(self.dataset), (self.config.samples,), generator=torch.Generator().manual_seed(1))
        (images,) = gather(self.dataset, rows, self.dataset.spec.sample.name)
        return self._count(images)

    def prepare(self, *, quiet: bool = False) -> None:
        """Load the classifier, or train it."""
        self.evaluator.prepare(quiet=quiet)

    def metadata(self) -> dict[str, Any]:
        """Return which classifier it is and how often it is right about a single digit."""
        return self.evaluator.metadata()

    def warnings(self) -> Sequence[str]:
        """Return why the classifier is a poor evaluator, if it is."""
        return self.evaluator.warnings()

    def _count(self, images: Tensor) -> dict[str, float]:
        each = self.evaluator.extract(images.flatten(0, 1)[:, None]).logits.argmax(dim=1)
        digits = each.view(-1, 3)
        modes = digits[:, 0] * 100 + digits[:, 1] * 10 + digits[:, 2]
        p = torch.bincount(modes, minlength=1000).double() / len(modes)
        drawn = p > 0
        # Modes that are not drawn contribute 0 (p log p -> 0); the log of 0 would give nan.
        kl = (p[drawn] * (p[drawn] / self.share[drawn]).log()).sum()
        return {"covered": float(drawn.sum()), "of": 1000.0, "kl": float(kl)}
