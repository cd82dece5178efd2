"""Perceptual path length: how evenly samples change with what they are drawn from."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Latent, Metric, Sampler, Signature, Styles, UserError
from ganzoo_plugins.metrics.extractors import ExtractorConfig, choose

__all__ = ["PathLength", "slerp", "trimmed_mean"]

_EPSILON = 1e-4


class PathLength(Metric):
    """The perceptual path length of Karras et al. (StyleGAN, arXiv:1812.04948, section 4.1): low is smooth.

    E[d(G(p(t)), G(p(t + e)))^2 / e^2] for t uniform in 0..1 and p(t) on the way between two draws: in W, the styles of
    a style-based model, on a straight line; in Z between normal latents on a great circle, their lengths changing
    evenly, and between uniform ones on a straight line. Classes and attributes are the same at both ends. As in the
    authors' code the lowest and the highest hundredth are left out of the mean.

    d is the Euclidean distance in the features that ``fid`` and ``prdc`` use, in place of the paper's VGG16; so figures
    are comparable within one extractor, which is part of the name, and not with published ones. Samples are taken as
    they are drawn, not rounded to levels, and features are computed in float64. Real images have no latents, so there
    is no reference.
    """

    better: ClassVar = {"": "lower"}

    class Config(ExtractorConfig):
        """The settings of :class:`PathLength`."""

        space: Literal["auto", "w", "z"] = Field(
            "auto", description="where the way is; auto: w of a style-based model, else z"
        )
        epsilon: float = Field(
            _EPSILON, gt=0, lt=1, description="the step, as a share of the way; others than 1e-4 are in the name"
        )

    config: Config

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.extractor = choose(dataset, config)

    def check(self, signature: Signature) -> None:
        """Refuse a network that has no such space."""
        if not signature.drawn or not any(isinstance(field, Latent) for field in signature.inputs):
            raise UserError("it follows ways between latents, and this model is not drawn from latents alone")
        if self.config.space == "w" and not any(isinstance(field, Styles) for field in signature.inputs):
            raise UserError("this model has no styles w; leave out metric.path_length.space, or take z")

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return nothing: which latents gave the samples is not known here."""
        return {}

    def probe(self, sampler: Sampler, seed: int) -> dict[str, float]:
        """Return the path length from ``samples`` pairs of samples, named by the extractor and the space."""
        n, epsilon = self.config.samples, self.config.epsilon
        signature = Signature.from_json(sampler.metadata["signature"])
        styles: list[Latent | Styles] = [
            field for field in signature.inputs if isinstance(field, Styles) and self.config.space != "z"
        ]
        fields = styles or [field for field in signature.inputs if isinstance(field, Latent)]
        # A sample has the same classes and attributes in two seeds, as these depend on its number.
        starts, ends = ({field.name: _drawn(sampler, field, n, each) for field in fields} for each in (seed, seed + 1))
        at = np.random.Generator(np.random.Philox(seed)).random(n)
        near, far = (
            sampler.stream(
                n,
                seed=seed,
                latents={field.name: _between(field, starts[field.name], ends[field.name], t) for field in fields},
            )
            for t in (at, at + epsilon)
        )
        distances = []
        for pair in zip(near, far, strict=True):
            one, other = (self._features(signature, samples) for samples, _ in pair)
            distances.append((one - other).square().sum(dim=1) / epsilon**2)
        name = f"{self.extractor.name}/{'w' if styles else 'z'}"
        return {name if epsilon == _EPSILON else f"{name}_{epsilon:g}": trimmed_mean(torch.cat(distances))}

    def prepare(self, *, quiet: bool = False) -> None:
        """Load or train the extractor."""
        self.extractor.prepare(quiet=quiet)

    def metadata(self) -> dict[str, Any]:
        """Return which extractor it is."""
        return self.extractor.metadata()

    def warnings(self) -> Sequence[str]:
        """Return why the features say little, if they do."""
        return self.extractor.warnings()

    def _features(self, signature: Signature, samples: NDArray[Any]) -> Tensor:
        return self.extractor.features(signature.output.decode(torch.from_numpy(np.asarray(samples, np.float32))))


def slerp(start: ArrayLike, end: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
    """Return the points at ``t``, [N], on great circles from points [N, D] to others, their lengths changing evenly.

    Between points of equal length it is Shoemake's; opposite ones have no such way, and random ones are none.
    """
    points = np.asarray(start, np.float64), np.asarray(end, np.float64)
    lengths = [np.linalg.norm(each, axis=1, keepdims=True) for each in points]
    one, other = (each / length for each, length in zip(points, lengths, strict=True))
    at = np.asarray(t, np.float64)[:, None]
    angle = np.arccos(np.clip((one * other).sum(axis=1, keepdims=True), -1, 1))
    # sin(x a) / sin(a), by sinc so that an angle of 0 is the straight line that it tends to.
    there, back = (share * np.sinc(share * angle / np.pi) / np.sinc(angle / np.pi) for share in (at, 1 - at))
    return np.asarray((back * one + there * other) * ((1 - at) * lengths[0] + at * lengths[1]))


def trimmed_mean(distances: Tensor) -> float:
    """Return the mean of the distances, [N], from their first to their 99th percentile, as the authors' code does."""
    low = distances.quantile(0.01, interpolation="lower")
    high = distances.quantile(0.99, interpolation="higher")
    return float(distances[(low <= distances) & (distances <= high)].mean())


def _drawn(sampler: Sampler, field: Latent | Styles, n: int, seed: int) -> NDArray[np.float32]:
    return sampler.styles(n, seed) if isinstance(field, Styles) else sampler.latents(n, seed, field.name)


def _between(field: Latent | Styles, start: ArrayLike, end: ArrayLike, t: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the latents or styles, [N, *shape], at ``t`` on the ways between others; computed in float64."""
    one, other = (np.asarray(each, np.float64).reshape(len(t), -1) for each in (start, end))
    if isinstance(field, Latent) and field.distribution == "normal":
        points = slerp(one, other, t)
    else:
        points = (1 - t[:, None]) * one + t[:, None] * other
    return points.astype(np.float32).reshape(len(t), *field.shape)
