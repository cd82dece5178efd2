"""Reading images for detectors, and what a trained detector says of them. No torch is needed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo import ImageReader, Sampler, UserError, load
from ganzoo.inference.sources import Sources
from ganzoo_runtime import pixels

__all__ = ["FILE", "Detector", "drawn_images", "read_images", "scores"]

FILE = "detector.onnx"
"""What a detector is called in the folder of its training."""

MOST = 256
"""The longest side that is looked at: of larger images the middle, as arXiv:1912.11035 does."""

LEAST = 16
"""The shortest side of an image that is scored."""

_BATCH = 64

Pixels = NDArray[np.uint8]


def read_images(source: Path, most: int | None = None, *, quiet: bool = True) -> Iterator[tuple[Path, Pixels]]:
    """Yield an image, or those in a folder, uint8 [H, W, 3]: the middle of what is larger than 256 x 256.

    What cannot be read in a folder is skipped, and named in a warning. ``most`` of a folder's are taken, evenly spread.
    Raises :class:`UserError` if there are none.
    """
    sources, reader = Sources.find(source), ImageReader()
    if most is not None and len(sources.files) > most:
        chosen = np.linspace(0, len(sources.files) - 1, most).astype(int)
        sources = Sources(source, [sources.files[index] for index in chosen])

    def read(path: Path) -> Pixels:
        image = np.asarray(reader.read(path))
        if min(image.shape[:2]) < LEAST:
            raise UserError(f"{path} is too small: detectors need images of at least {LEAST} x {LEAST}")
        return middle(image)

    yield from sources.each(read, quiet=quiet)


def middle(image: Pixels) -> Pixels:
    """Return the middle of an image, at most 256 x 256."""
    top, left = (max(0, (size - MOST) // 2) for size in image.shape[:2])
    return image[top : top + MOST, left : left + MOST]


def drawn_images(model: str | Sampler, n: int, seed: int) -> list[Pixels]:
    """Return ``n`` images that a model draws, uint8 [H, W, 3]; raises :class:`UserError` for one that draws none."""
    sampler = load(model) if isinstance(model, str) else model
    output = sampler.metadata["signature"]["output"]
    if output["kind"] != "image":
        raise UserError(f"{model} draws {output['kind']}, not images, so no detector can learn from it")
    drawn = pixels(sampler.sample(n, seed=seed), output["range"], output.get("layout", "NCHW"))
    if min(drawn.shape[1:3]) < LEAST:
        raise UserError(f"{model} draws images of less than {LEAST} x {LEAST}, too small for a detector")
    colored = drawn.repeat(3, axis=-1) if drawn.shape[-1] == 1 else drawn[..., :3]
    return [middle(image) for image in colored]


class Detector:
    """A trained detector: its file, or the folder of its training; raises :class:`UserError` for what is none.

    ``about`` is what is known about it: ``method``, ``threshold``, ``false_positive_rate`` and what it was trained on.
    """

    def __init__(self, path: Path) -> None:
        self.model = load(str(path / FILE if path.is_dir() and (path / FILE).is_file() else path))
        about = self.model.metadata.get("detector")
        threshold = about.get("threshold") if isinstance(about, Mapping) else None
        if not isinstance(threshold, int | float) or not isfinite(threshold):
            raise UserError(f"{path} is no detector: make one with 'ganzoo detect train'")
        self.about: Mapping[str, Any] = about or {}
        self.threshold = float(threshold)

    def scores(self, images: Sequence[Pixels]) -> NDArray[np.float64]:
        """Return the logits of images, uint8 [H, W, 3] of any sizes; above :attr:`threshold` is generated."""
        return scores(self.model, images)


def scores(network: Any, images: Sequence[Pixels]) -> NDArray[np.float64]:
    """Return what a network, called with float32 arrays [N, 3, H, W], gives each image; those of a size together."""
    found = np.empty(len(images))
    for indices in _batches(image.shape for image in images):
        batch = np.stack([images[index] for index in indices]).transpose(0, 3, 1, 2)
        found[indices] = np.asarray(network(np.ascontiguousarray(batch, np.float32)))[:, 0]
    return found


def _batches(shapes: Iterable[tuple[int, ...]]) -> Iterator[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(index)
    for group in groups.values():
        yield from (group[start : start + _BATCH] for start in range(0, len(group), _BATCH))
