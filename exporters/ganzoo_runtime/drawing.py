"""What a generator is given: latents from a seed, labels and attributes from what was asked for."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .latents import truncate

__all__ = ["GENERATOR", "Drawing", "Floats", "Given", "Labels", "Vectors", "check_labels", "finite", "whole"]

GENERATOR = "numpy.random.Philox"
"""What ``"latent_generator"`` in the metadata names, and where it is absent: the source of latents."""

Floats = NDArray[np.float32]
Classes = int | Sequence[int] | NDArray[np.integer[Any]]
Labels = Classes | Mapping[str, Classes] | None
Vectors = ArrayLike | Mapping[str, float] | None
Given = ArrayLike | Mapping[str, ArrayLike] | None


class Drawing:
    """The inputs of ``n`` samples, drawn a piece at a time; the pieces do not depend on where they are cut.

    ``fields`` are the signature's inputs; ``means`` the means of latents, by name, where they are not 0. What the other
    arguments mean is told by :meth:`Generator.sample`. Raises ValueError for what this model cannot be asked.
    """

    def __init__(
        self,
        fields: Sequence[dict[str, Any]],
        n: int,
        seed: int = 0,
        *,
        label: Labels = None,
        attributes: Vectors = None,
        truncation: float = 1.0,
        latents: Given = None,
        means: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        n = whole(n, 1, "the number of samples")
        if not (math.isfinite(truncation) and truncation >= 0):
            raise ValueError(f"the truncation is a number of at least 0, not {truncation}")
        drawn = [field["name"] for field in fields if field["kind"] == "latent"]
        if not drawn or {field["kind"] for field in fields} - {"latent", "label", "attributes"}:
            what = " and ".join(f"{field['kind']} {field['name']!r}" for field in fields)
            raise ValueError(f"this model cannot be sampled from noise alone: it takes {what}; call it with arrays")
        self._fields, self._truncation, self._means = fields, truncation, means or {}
        self._rows = _label_rows(fields, n, label) | _attribute_rows(fields, n, attributes)
        self._rows |= _latent_rows(fields, n, latents)
        self._streams = {name: stream(seed, index) for index, name in enumerate(drawn)}
        self._done = 0

    def take(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the next ``count`` rows of every input, by its name."""
        index = rest = np.arange(self._done, self._done + count)
        self._done += count
        feed: dict[str, NDArray[Any]] = {}
        for field in self._fields:
            name = field["name"]
            if (given := self._rows.get(name)) is not None:
                feed[name] = given[index % len(given)]
            elif field["kind"] == "latent":
                values = draw(self._streams[name], field, count)
                feed[name] = truncate(values, self._truncation, self._means.get(name, 0.0))
            else:
                feed[name], rest = rest % field["classes"], rest // field["classes"]
        return feed


def stream(seed: int, index: int = 0) -> np.random.Generator:
    """Return the stream of the latent with this index."""
    stream = np.random.Philox(whole(seed, 0, "the seed"))
    return np.random.Generator(stream.jumped(index) if index else stream)


def draw(random: np.random.Generator, field: dict[str, Any], n: int) -> Floats:
    """Return the next ``n`` latents of the stream, [n, *shape]."""
    if field["distribution"] == "normal":
        return random.standard_normal((n, *field["shape"]), dtype=np.float32)
    return random.random((n, *field["shape"]), dtype=np.float32) * np.float32(2) - np.float32(1)


def whole(value: int, least: int, what: str) -> int:
    """Return the whole number; raises ValueError if it is less than ``least``."""
    if operator.index(value) < least:
        raise ValueError(f"{what} is a whole number of at least {least}, not {value}")
    return operator.index(value)


def _label_rows(fields: Sequence[dict[str, Any]], n: int, label: Labels) -> dict[str, NDArray[Any]]:
    """Return the classes that are asked for, [1] or [n], by the name of the label."""
    classes = {field["name"]: field["classes"] for field in fields if field["kind"] == "label"}
    if label is not None and not isinstance(label, Mapping):
        if not classes:
            raise ValueError("this model has no classes, so it takes no label")
        if len(classes) > 1:
            raise ValueError(f"this model has the labels {', '.join(classes)}: give a mapping from a name to a class")
        label = dict.fromkeys(classes, label)
    rows = {name: np.asarray(value) for name, value in (label or {}).items()}
    for name, row in rows.items():
        if name not in classes:
            raise ValueError(f"this model has no label {name!r}; it has: {', '.join(classes)}")
        if row.dtype.kind not in "iu" or row.shape not in ((), (n,)):
            raise ValueError(f"a label is one whole number, the index of a class, or one for each of the {n} samples")
        check_labels(row, classes[name])
    return {name: row.reshape(-1).astype(np.int64) for name, row in rows.items()}


def _attribute_rows(fields: Sequence[dict[str, Any]], n: int, attributes: Vectors) -> dict[str, NDArray[Any]]:
    """Return the vectors that take turns, [any, dim], by the name of the field."""
    fields = [field for field in fields if field["kind"] == "attributes"]
    if attributes is not None and len(fields) != 1:
        raise ValueError(f"this model has {'several vectors of' if fields else 'no'} attributes; leave them out")
    rows = {}
    for field in fields:
        (dim,) = field["shape"]
        values = finite(field["examples"] or [[0.0] * dim])
        if isinstance(attributes, Mapping):
            names = field["names"] or [str(index) for index in range(dim)]
            for name, value in attributes.items():
                key = name if field["names"] else str(name)  # an index is no name, also where names are numbers
                if key not in names:
                    raise ValueError(f"this model has no attribute {name!r}; it has: {', '.join(map(repr, names))}")
                values[:, names.index(key)] = finite(value, ())
        elif attributes is not None:
            values = finite(attributes, (dim,), (n, dim))
        rows[field["name"]] = values.reshape(-1, dim)
    return rows


def _latent_rows(fields: Sequence[dict[str, Any]], n: int, latents: Given) -> dict[str, NDArray[Any]]:
    """Return the latents that are given, [1 or n, *shape], by name."""
    shapes = {field["name"]: tuple(field["shape"]) for field in fields if field["kind"] == "latent"}
    if latents is None:
        return {}
    if not isinstance(latents, Mapping):
        latents = {next(iter(shapes)): latents}
    rows = {}
    for name, values in latents.items():
        if name not in shapes:
            raise ValueError(f"this model has no latent {name!r}; it has: {', '.join(shapes)}")
        rows[name] = finite(values, shapes[name], (n, *shapes[name]), what="latents").reshape(-1, *shapes[name])
    return rows


def finite(values: Any, *shapes: tuple[int, ...], what: str = "attributes") -> Floats:
    """Return the values as float32, if they are finite numbers of one of the shapes; raises ValueError otherwise."""
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} are numbers, as many for every sample") from None
    if shapes and array.shape not in shapes:
        raise ValueError(f"such {what} have the shape {' or '.join(map(str, shapes))}, not {array.shape}")
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise ValueError(f"{what} are finite numbers that float32 can hold")
    return array.astype(np.float32)


def check_labels(labels: NDArray[Any], classes: int) -> None:
    """Raise ValueError unless all of them are in 0 .. classes - 1."""
    if (wrong := labels[(labels < 0) | (labels >= classes)]).size:
        raise ValueError(f"there is no class {wrong.flat[0]}: this model has the classes 0 .. {classes - 1}")
