"""Whether samples are copies of training images."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import PIL.Image
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Label, Metric, MetricConfig, UserError, grid
from ganzoo.files import atomic_path
from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig, gather, to_uint8
from ganzoo_plugins.metrics.extractors import require_images

__all__ = ["Memorization", "nearest"]

_CHUNK = 1000
_SIDE = 32  # pixels are compared at this size at most
_LEAST = 4  # two halves of two: each image has another one to be compared with
_ROWS, _NEIGHBORS = 10, 5


class Memorization(Metric):
    """Nearest-neighbor distances from samples to training images, relative to those between training images.

    ``ratio`` is the median distance of a sample to its nearest training image, over the same of a training image to
    its nearest other one (leave-one-out). New samples of the data's distribution have 1, copies 0; far above 1 samples
    are unlike the data. ``copies`` is the share of samples that are nearer than 99% of training images are: a sampler
    that copies nothing has 0.01. The comparison of nearest-neighbor distances is that of the test for data-copying of
    Meehan et al. (arXiv:2004.05675), leave-one-out in place of a test set, which is not needed so.

    Distances are Euclidean, between features of the data set's classifier or, without labels, between pixels, reduced
    to 32 x 32 at most; the space is part of the figures' names. The reference is what one half of the data gets beside
    the other half alone: real images that the "training set" has not seen.
    """

    default_for = ("image",)
    better: ClassVar = {"ratio": "as real", "copies": "lower"}

    class Config(MetricConfig):
        """The settings of :class:`Memorization`."""

        space: Literal["auto", "classifier", "pixels"] = Field(
            "auto", description="what distances are measured in; auto: the classifier's features if there are labels"
        )
        compared: int = Field(50_000, ge=20, description="training images that are looked at, at most: random ones")
        classifier: EvaluatorConfig = Field(EvaluatorConfig(), description="the classifier's training")

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.image = require_images(dataset)
        if len(dataset) < _LEAST:
            raise UserError(
                f"memorization is measured by distances between at least {_LEAST} training images; "
                f"{dataset.spec.name} has {len(dataset)}"
            )
        labeled = any(isinstance(field, Label) for field in dataset.spec.fields)
        by_features = config.space == "classifier" or (config.space == "auto" and labeled)
        self.evaluator = Evaluator(dataset, config.classifier) if by_features else None
        self.space = self.evaluator.name if self.evaluator else "pixels"
        # Random but fixed rows: a data set sorted by class would otherwise be cut to its first classes.
        order = dataset.order(torch.Generator().manual_seed(0))
        self.rows = order[: config.compared]

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return ``ratio`` and ``copies`` of samples [N, C, H, W]."""
        distances, _ = nearest(self._embed(to_uint8(samples)), self._training)
        return self._figures(distances[:, 0], self._usual(self._training))

    def reference(self) -> dict[str, float]:
        """Return the figures of one half of the training images beside the other half."""
        # One half stands for samples that copy nothing, the other for the training set.
        seen, unseen = self._training.tensor_split(2)
        distances, _ = nearest(unseen[: self.config.samples], seen)
        return self._figures(distances[:, 0], self._usual(seen))

    def prepare(self, *, quiet: bool = False) -> None:
        """Load the classifier, or train it."""
        if self.evaluator:
            self.evaluator.prepare(quiet=quiet)

    def metadata(self) -> dict[str, Any]:
        """Return what distances are measured in, and among how many training images."""
        return {
            **(self.evaluator.metadata() if self.evaluator else {"evaluator": "pixels"}),
            "compared": len(self.rows),
        }

    def warnings(self) -> Sequence[str]:
        """Return why the classifier is a poor evaluator, if it is."""
        return self.evaluator.warnings() if self.evaluator else []

    def draw(self, folder: Path, samples: Tensor) -> list[Path]:
        """Draw memorization.png: the ten samples nearest to training images, each in a row with its five nearest."""
        images = to_uint8(samples)
        distances, which = nearest(self._embed(images), self._training, _NEIGHBORS)
        rows = []
        for sample in distances[:, 0].argsort()[:_ROWS].tolist():
            (found,) = gather(self.dataset, self.rows[which[sample]], self.image.name)
            rows += [images[sample : sample + 1], found]
        pixels = grid(torch.cat(rows).permute(0, 2, 3, 1).numpy(), columns=1 + which.shape[1])
        path = folder / "memorization.png"
        with atomic_path(path) as temporary:
            PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(temporary, format="PNG")
        return [path]

    @cached_property
    def _training(self) -> Tensor:
        """The training images in the space of the distances, float32 [M, D]."""
        return torch.cat(
            [self._embed(*gather(self.dataset, part, self.image.name), once=True) for part in self.rows.split(_CHUNK)]
        )

    def _usual(self, training: Tensor) -> Tensor:
        """Return the distances of at most ``samples`` training images to the nearest other one."""
        some = training[: self.config.samples]
        distances, which = nearest(some, training, 2)
        # Usually an image is its own nearest; where a twin comes first, the distance is 0 all the same.
        itself = which == torch.arange(len(some))[:, None]
        return torch.where(itself[:, 0], distances[:, 1], distances[:, 0])

    def _figures(self, distances: Tensor, usual: Tensor) -> dict[str, float]:
        typical = usual.median()
        if typical < 1e-12:
            raise UserError(f"most images of {self.dataset.spec.name} are there twice, so that a near one is no copy")
        ratio = distances.median() / typical
        copies = (distances <= usual.quantile(0.01)).double().mean()
        return {f"{self.space}/ratio": float(ratio), f"{self.space}/copies": float(copies)}

    def _embed(self, images: Tensor, *, once: bool = False) -> Tensor:
        if self.evaluator:
            return self.evaluator.extract(images, once=once).features
        # Without labels there is no classifier. Pixels are averaged down, so that fine noise does not decide distances.
        images = images.float()
        height, width = images.shape[2:]
        if max(height, width) > _SIDE:
            images = F.adaptive_avg_pool2d(images, (min(height, _SIDE), min(width, _SIDE)))
        return images.flatten(1)


def nearest(points: Tensor, others: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Return distances, float64 [N, k], and indices of the k nearest of ``others`` [M, D] to points [N, D], near first.

    k is M if there are not so many.
    """
    # In blocks that keep the k best so far, so that memory does not grow with N times M.
    k = min(k, len(others))
    found = []
    for part in points.split(_CHUNK):
        distances, which = torch.empty(len(part), 0, dtype=torch.float64), torch.empty(len(part), 0, dtype=torch.int64)
        for start in range(0, len(others), 5 * _CHUNK):
            here = torch.cdist(part.double(), others[start : start + 5 * _CHUNK].double())
            place = torch.arange(start, start + here.shape[1]).expand(len(part), -1)
            distances, which = torch.cat([distances, here], dim=1), torch.cat([which, place], dim=1)
            distances, order = distances.topk(min(k, distances.shape[1]), largest=False)
            which = which.gather(1, order)
        found.append((distances, which))
    return torch.cat([distances for distances, _ in found]), torch.cat([which for _, which in found])
