"""Distances between drawn and real images in features: FID, KID, precision and recall, density and coverage.

They are torch-fidelity's, computed from features that are extracted once for all of them.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Metric, UserError
from ganzoo_plugins.metrics.evaluator import Extracted, to_uint8
from ganzoo_plugins.metrics.extractors import ExtractorConfig, choose, halves

__all__ = ["FID", "KID", "PRDC", "InceptionScore"]


class _Distance(Metric):
    """A metric that compares features of generated images with those of one half of the data set.

    The data set is split into two halves, always the same. As many drawn samples as reference images are compared:
    ``samples``, or half of the data set if that is less. The reference figure is that of as many images of
    the other half: no sampler of this distribution does better except by chance. The GAN was trained on both halves,
    and so was the data set's own classifier where it is the extractor.
    """

    Config: ClassVar[type[ExtractorConfig]] = ExtractorConfig
    least: int = 2

    def __init__(self, config: ExtractorConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.extractor = choose(dataset, config)
        self._check(config.samples)

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figures of samples [N, C, H, W], named by the extractor."""
        return self._figures(to_uint8(samples[: self.config.samples]))

    def reference(self) -> dict[str, float]:
        """Return the figures of the other half of the data set."""
        return self._figures(self._halves[1])

    def prepare(self, *, quiet: bool = False) -> None:
        """Load or train the extractor."""
        self.extractor.prepare(quiet=quiet)

    def metadata(self) -> dict[str, Any]:
        """Return which extractor it is, and how many images are compared."""
        return {**self.extractor.metadata(), "compared": len(self._halves[0])}

    def warnings(self) -> Sequence[str]:
        """Return why the features say little, if they do."""
        return self.extractor.warnings()

    @abstractmethod
    def compare(self, drawn: Extracted, real: Extracted) -> dict[str, float]:
        """Return the figures by name, "" for the only one, of as many drawn images as real ones."""

    @cached_property
    def _halves(self) -> tuple[Tensor, Tensor]:
        return halves(self.dataset, self.config.samples)

    def _check(self, samples: int) -> None:
        """Raise :class:`~ganzoo.UserError` if so many samples, or the data set's images, are too few to compare."""
        if min(samples, len(self.dataset) // 2) < self.least:
            raise UserError(
                f"at least {self.least} samples and {2 * self.least} images are needed to compare them, and here "
                f"are {samples:,} and {len(self.dataset):,}"
            )

    def _figures(self, images: Tensor) -> dict[str, float]:
        self._check(len(images))  # what translates the data's examples may have got fewer than were asked for
        # Equal counts on both sides: the bias of FID and the balls of PRDC depend on the count.
        n = min(len(images), len(self._halves[0]))
        drawn, real = (self.extractor.extract(part[:n]) for part in (images, self._halves[0]))
        figures = self.compare(drawn, real)
        return {f"{self.extractor.name}/{name}".rstrip("/"): value for name, value in figures.items()}


class FID(_Distance):
    """The Fréchet Inception Distance of Heusel et al. (arXiv:1706.08500): 0 is best, and depends on the sample count.

    |m - m'|² + tr(S + S' - 2 (S S')^(1/2)) for the means and covariances of the features. It falls with more samples
    (its estimate is biased), so only figures of the same count can be compared.
    """

    default_for = ("image",)
    better: ClassVar = {"": "lower"}

    def compare(self, drawn: Extracted, real: Extracted) -> dict[str, float]:
        """Return the distance."""
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

        each = [fid_features_to_statistics(part.features.double()) for part in (drawn, real)]
        return {"": fid_statistics_to_metric(*each, verbose=False)[KEY_METRIC_FID]}


class KID(_Distance):
    """The Kernel Inception Distance of Bińkowski et al. (arXiv:1801.01401): 0 is best, whatever the sample count.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel (x·y/d + 1)³, which may be a little
    below 0. Where the paper takes the mean over 100 random subsets of 1,000, all samples are taken at once if they are
    at most ``block``: the same expectation with less variance; beyond, the mean over as many random blocks as it takes.
    """

    better: ClassVar = {"": "lower"}

    class Config(ExtractorConfig):
        """The settings of :class:`KID`."""

        block: int = Field(2500, ge=2, description="samples whose kernel matrices are computed at once")

    config: Config

    def compare(self, drawn: Extracted, real: Extracted) -> dict[str, float]:
        """Return the distance."""
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        n, block = len(drawn.features), self.config.block
        blocks = {"kid_subset_size": min(n, block), "kid_subsets": -(-n // block)}
        each = (part.features.double() for part in (drawn, real))
        return {"": kid_features_to_metric(*each, **blocks, verbose=False)[KEY_METRIC_KID_MEAN]}


class PRDC(_Distance):
    """Precision, recall (Kynkäänniemi et al., arXiv:1904.06991), density, coverage (Naeem et al., arXiv:2002.09797).

    Around each real image lies a ball that reaches to its k-th neighbor among the real ones. ``precision`` is the
    share of drawn images in any ball, and ``recall`` the same with the parts exchanged; ``density`` is in how many
    balls a drawn image lies over k, on average (it may exceed 1), and ``coverage`` the share of balls that have a
    drawn image in them.
    """

    default_for = ("image",)
    better: ClassVar = {"": "higher"}

    class Config(ExtractorConfig):
        """The settings of :class:`PRDC`."""

        neighbors: int = Field(5, ge=1, description="k: the neighbor that the balls reach to")

    config: Config

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.least = config.neighbors + 1
        super().__init__(config, dataset)

    def compare(self, drawn: Extracted, real: Extracted) -> dict[str, float]:
        """Return the four figures."""
        from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

        k, (fakes, reals) = self.config.neighbors, (part.features.double() for part in (drawn, real))
        figures = prc_features_to_metric(fakes, reals, prc_neighborhood=k, verbose=False)
        # k + 1, because the nearest real image of each is itself. In chunks: the full matrix may not fit in memory.
        radius = torch.cat([torch.cdist(part, reals).kthvalue(k + 1).values for part in reals.split(1000)])
        pairs = zip(reals.split(1000), radius.split(1000), strict=True)
        inside = torch.cat([(torch.cdist(part, fakes) <= reach[:, None]).sum(dim=1) for part, reach in pairs])
        return {
            "precision": figures[KEY_METRIC_PRECISION],
            "recall": figures[KEY_METRIC_RECALL],
            "density": float(inside.sum()) / (k * len(fakes)),
            "coverage": float((inside > 0).double().mean()),
        }


class InceptionScore(_Distance):
    """The Inception Score of Salimans et al. (arXiv:1606.03498): exp of the mean KL(p(y|x) || p(y)), high is better.

    As is usual, torch-fidelity takes the mean over ten parts of the samples, which lowers it a little when they are
    few. The classes are ImageNet's, or the data set's own where its classifier is the extractor. No image is compared
    with another: the reference is there for the count alone.
    """

    better: ClassVar = {"": "higher"}
    least = 10

    def compare(self, drawn: Extracted, real: Extracted) -> dict[str, float]:
        """Return the score."""
        from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

        return {"": isc_features_to_metric(drawn.logits)[KEY_METRIC_ISC_MEAN]}
