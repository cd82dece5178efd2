"""A picture of what a network is given to learn from."""

from __future__ import annotations

from os import PathLike

import torch
from torch import Tensor

from ganzoo.data.dataset import Dataset
from ganzoo.fields import Image, Label
from ganzoo.images.grids import save_comparison, save_grid

__all__ = ["save_reals"]

_CLASSES = 16  # of more, the columns of a picture are none


def save_reals(path: str | PathLike[str], dataset: Dataset) -> None:
    """Draw samples of a data set as its fields are drawn, the columns classes if these are known and at most 16.

    Images of two domains are drawn side by side. The samples are always the same.
    """
    sample, *others = dataset.spec.fields
    images = [each for each in (sample, *others) if isinstance(each, Image)]
    if isinstance(sample, Image) and len(images) > 1:
        batch = dataset.examples(sample.shown // len(images))
        save_comparison(path, [batch[each.name].numpy().transpose(0, 2, 3, 1) for each in images])
        return
    rows, names = _by_class(dataset) if sample.rows else (None, ())
    batch = dataset.examples(sample.shown) if rows is None else dataset.batch(rows, torch.Generator().manual_seed(0))
    field = sample.scaled((0, 1))  # pixels of a network's range, as a picture takes them
    save_grid(path, field.encode(batch[sample.name]).numpy(), field, columns=len(names) or None, names=names)


def _by_class(dataset: Dataset) -> tuple[Tensor | None, tuple[str, ...]]:
    """Return the rows of as many samples of each class as a picture has room for, in turn, and the classes' names."""
    label = next((each for each in dataset.spec.fields if isinstance(each, Label)), None)
    y = dataset.known.get(label.name) if label is not None else None
    if label is None or y is None or not 1 < label.classes <= _CLASSES:
        return None, ()
    found = [(y == each).nonzero()[:, 0] for each in range(label.classes)]
    if not all(len(each) for each in found):
        return None, ()
    count = min(dataset.spec.sample.rows, max(map(len, found)))
    spread = [each[torch.linspace(0, len(each) - 1, count).long()] for each in found]
    return torch.stack(spread, dim=1).flatten(), label.names or tuple(map(str, range(label.classes)))
