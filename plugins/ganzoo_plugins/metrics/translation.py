"""How close translations come to the true counterparts, for data sets that have them."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Image, Metric, MetricConfig, Signature, UserError

__all__ = ["Translation"]


class Translation(Metric):
    """Translations of the data set's examples against their true counterparts.

    ``l1`` is the mean absolute difference from the truth, as a share of the pixels' range, ``input_l1`` that of the
    image that went in (where it has as many channels), and ``gain`` how many times smaller the first is than the
    second. ``matched`` is the share of translations whose nearest neighbor in that distance among all the true
    counterparts is their own. The truth itself gets ``l1`` 0 and ``matched`` 1.
    """

    conditional = True
    better: ClassVar = {"l1": "lower", "gain": "higher", "matched": "higher"}

    class Config(MetricConfig):
        """The settings of :class:`Translation`."""

        samples: int = Field(500, ge=1, description="how many examples are translated")

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if not dataset.known_pairs:
            raise UserError(
                f"{dataset.spec.name} knows no pairs that translations could be compared with; give it some, as with "
                "--set data.test_a=FOLDER --set data.test_b=FOLDER"
            )
        self.images = [field.name for field in dataset.spec.fields if isinstance(field, Image)]

    def check(self, signature: Signature) -> None:
        """Refuse a network that does not go from one of the two domains to the other."""
        super().check(signature)
        given = [field.name for field in signature.inputs if field.name in self.images]
        if len(given) != 1 or sorted([*given, signature.output.name]) != sorted(self.images):
            raise UserError(
                "it evaluates translations from one of two domains to the other, which this model does not make"
            )

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figures; ``condition`` has the images that were translated, in 0..255."""
        given = [name for name in self.images if name in condition]
        targets = [name for name in self.images if name not in condition]
        if len(given) != 1 or len(targets) != 1:
            raise UserError("translation evaluates what a model makes of images of one of two domains; leave it out")
        source, truth = condition[given[0]], self.dataset.examples(len(samples))[targets[0]].float()
        l1 = float((samples - truth).abs().mean() / 255)
        figures = {"l1": l1}
        if source.shape == truth.shape:
            figures["input_l1"] = float((source - truth).abs().mean() / 255)
            figures["gain"] = figures["input_l1"] / max(l1, 1e-9)
        # l1 alone favors blurry averages; a translation that keeps what is special about its input finds its own truth.
        nearest = torch.cdist(samples.flatten(1), truth.flatten(1), p=1).argmin(dim=1)
        figures["matched"] = float((nearest == torch.arange(len(samples))).double().mean())
        return figures
