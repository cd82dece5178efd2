"""The inputs of a network: latents and masks drawn from a seed, labels, attributes and captions as requested.

Both the network in torch and the exported file use this module. So both accept the same requests, refuse the same ones
with the same message, and use the same inputs for a seed. Fields are the inputs of a signature as JSON.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fields import KINDS, kind_of
from .latent_arithmetic import pick, truncate, truncated_normal
from .requests import (
    attribute_rows,
    has_styles,
    is_resampled,
    label_rows,
    latent_rows,
    shown,
    style_rows,
    text_rows,
    truncation_of,
    unknown,
)

__all__ = [
    "GENERATOR",
    "MOST",
    "NO_STYLES",
    "Classes",
    "Drawing",
    "Fields",
    "Floats",
    "Given",
    "Labels",
    "Texts",
    "Truncation",
    "Vectors",
    "check_memory",
    "draw_latents",
    "draw_numbered",
    "memory",
    "streams",
    "whole",
]

MOST = 2**53
"""The most samples that there can be: more are numbered by no float64 and drawn in no lifetime."""

GENERATOR = "numpy.random.Philox"
"""What ``"latent_generator"`` in the metadata names, and where it is absent: the source of latents."""

Fields = Sequence[Mapping[str, Any]]
"""The inputs of a signature, as JSON."""
Floats = NDArray[np.float32]
Classes = int | str | Sequence[int] | Sequence[str] | NDArray[Any]
"""A class for all samples, or one for each: indices from 0, or names."""
Labels = Classes | Mapping[str, Classes] | None
"""The labels of a request; see :meth:`Generator.sample`."""
Vectors = ArrayLike | Mapping[str, float] | None
"""The attributes of a request; see :meth:`Generator.sample`."""
Texts = str | Sequence[str] | None
"""The captions of a request; see :meth:`Generator.sample`."""
Truncation = float | list[float] | tuple[float, ...] | None
"""How near to their mean latents or styles are drawn; see :meth:`Generator.sample`."""
Given = ArrayLike | Mapping[str, ArrayLike] | None
"""Latents to use in place of drawn ones; see :meth:`Generator.sample`."""

NO_STYLES = "this model has no styles; it is none with a mapping network, or its file is older than these"
"""What a model is refused with that styles are asked of."""
_PIECE = 1 << 20  # numbers of latents that are drawn at a time where few of them are wanted
_REACH = 1 << 30  # numbers that are drawn to get to a sample, which takes some ten seconds


class Drawing:
    """The inputs of ``n`` samples, drawn in pieces; the values do not depend on the sizes of the pieces.

    ``label``, ``attributes``, ``text``, ``truncation`` and ``latents`` are what :meth:`Generator.sample` takes.
    ``given`` are inputs of any kind that are not drawn, by name, [any, ...] each: their rows are used in turn, and
    names that the network does not take are ignored. A mask that is not given is one random rectangle. ``means`` are
    the means of latents by name, row-major, where they are not 0; of styles one for all layers. Raises ValueError for a
    request that does not fit the model.
    """

    def __init__(
        self,
        fields: Fields,
        n: int,
        seed: int = 0,
        *,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
        latents: Given = None,
        given: Mapping[str, NDArray[Any]] | None = None,
        means: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self.n = n = whole(n, 1, "the number of samples")
        if n > MOST:
            raise ValueError(f"n, the number of samples, is at most {MOST:,}, not {n:,}")
        self._means = {name: np.asarray(mean, np.float32) for name, mean in means.items()} if means else {}
        self._fields, self._done = fields, 0
        self._rows = label_rows(fields, n, label) | attribute_rows(fields, n, attributes)
        self._rows |= text_rows(fields, text)
        self._rows |= (rows := latent_rows(fields, n, latents))
        self._rows |= style_rows(fields, truncation, self._means, rows)
        # Where there are styles, they are truncated in place of latents.
        self._truncation = None if truncation is None or has_styles(fields) else truncation_of(truncation, fields)
        self._rows.update(given or {})
        missing = [
            f"{field['kind']} {field['name']!r}"
            for field in fields
            if not kind_of(field).drawn and field["name"] not in self._rows
        ]
        if missing:
            what = " and ".join(missing)
            raise ValueError(f"this model cannot be sampled from noise alone: it takes {what}; call it with arrays")
        # Each input has a random stream of its own. With a shared one, the numbers of two inputs would alternate, and
        # the latents would depend on the size of the pieces. Latents come first, so that a model with a mask draws the
        # same latents as one without.
        order = [kind for kind, known in KINDS.items() if known.draw]
        drawn = [field["name"] for kind in order for field in fields if field["kind"] == kind]
        self._streams = dict(zip(drawn, streams(seed, len(drawn)), strict=True))
        self._random = [field for field in fields if kind_of(field).draw and field["name"] not in self._rows]

    def take(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the next ``count`` rows of every input, by its name."""
        index = np.arange(self._done, self._done + count)
        self._done += count
        return self._inputs(index, self._drawn(count))

    def pick(self, numbers: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the rows of these numbers, each below ``n``, of every input, by its name; nothing has been taken yet.

        Raises ValueError for numbers that are out of reach.
        """
        # Philox can jump, but normal numbers use a varying count of random words (ziggurat), so sample 1000 is found
        # only by drawing those before it: in pieces, to keep the memory small.
        size = sum(math.prod(field["shape"]) for field in self._random)
        if self.n * size > _REACH:
            raise ValueError(
                f"the sample of number {self.n - 1:,} is out of reach: the random numbers of all samples before it are "
                f"drawn, so of this model it is at most {max(0, _REACH // size - 1):,}"
            )
        drawn: dict[str, NDArray[Any]] = {}
        if size:
            rows = max(1, _PIECE // size)
            drawn = pick((self._drawn(min(rows, self.n - done)) for done in range(0, self.n, rows)), numbers)
        return self._inputs(numbers, drawn)

    def _drawn(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the next ``count`` rows of the random inputs."""
        inputs: dict[str, NDArray[Any]] = {}
        for field in self._random:
            draw = kind_of(field).draw
            assert draw is not None
            values = inputs[field["name"]] = draw(self._streams[field["name"]], field, count)
            if field["kind"] == "latent" and self._truncation is not None:
                inputs[field["name"]] = self._truncated(values, field, self._truncation)
        return inputs

    def _inputs(self, numbers: NDArray[Any], drawn: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return all inputs of the samples of these numbers, of which the random ones are ``drawn``."""
        inputs, rest = dict[str, NDArray[Any]](), numbers
        for field in self._fields:
            name = field["name"]
            if (rows := self._rows.get(name)) is not None:
                inputs[name] = rows[numbers % len(rows)]
            elif name in drawn:
                inputs[name] = drawn[name]
            else:
                # Labels that were not requested take all their combinations in turn, the first label changing fastest:
                # the digits of the sample's number, so any piece can be computed without those before it.
                inputs[name], rest = rest % field["classes"], rest // field["classes"]
        return inputs

    def _truncated(self, values: Floats, field: Mapping[str, Any], truncation: float) -> Floats:
        if is_resampled(field):
            return truncated_normal(values, truncation)
        mean = self._means.get(field["name"])
        return truncate(values, truncation, 0.0 if mean is None else mean.reshape(field["shape"]))  # it is row-major


def draw_latents(
    fields: Fields,
    n: int | Sequence[int],
    seed: int = 0,
    name: str | None = None,
    *,
    truncation: Truncation = None,
    means: Mapping[str, ArrayLike] | None = None,
) -> Floats:
    """Return the latents that :class:`Drawing` gives for this seed; see :meth:`Generator.latents`."""
    if has_styles(fields):
        style_rows(fields, truncation, {}, {})  # which says what is wrong with it
        truncation = None
    latents = [field for field in fields if field["kind"] == "latent"]
    if not latents:
        raise ValueError("this model takes no latents")
    names = [field["name"] for field in latents]
    name = names[0] if name is None else name
    if name not in names:
        raise unknown("latent", name, names)
    return draw_numbered(latents, n, seed, truncation=truncation, means=means)[name]


def draw_numbered(fields: Fields, n: int | Sequence[int], seed: int = 0, **asked: Any) -> dict[str, NDArray[Any]]:
    """Return the inputs of ``n`` samples, or of those of these numbers, by name; ``asked`` as in :class:`Drawing`."""
    if not isinstance(n, Sequence | np.ndarray):
        drawing = Drawing(fields, n, seed, **asked)
        return drawing.take(drawing.n)
    numbers = np.asarray(n)
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1 or not numbers.size or numbers.min() < 0:
        raise ValueError("the numbers of samples are whole numbers of at least 0, and at least one")
    return Drawing(fields, int(numbers.max()) + 1, seed, **asked).pick(numbers.astype(np.int64))


def streams(seed: int, count: int = 1) -> list[np.random.Generator]:
    """Return a stream of random numbers for each of ``count`` inputs; raises ValueError for a wrong seed."""
    # jumped() moves by 2**128 draws, so the streams of one seed cannot overlap. Philox is named in the metadata, since
    # another generator would draw other samples for the same seed.
    first = np.random.Philox(whole(seed, 0, "the seed"))
    return [np.random.Generator(first.jumped(index) if index else first) for index in range(count)]


def whole(value: int, least: int, what: str) -> int:
    """Return the whole number; raises ValueError if it is none, or less than ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{what} is a whole number of at least {least}, not {shown(value)}")
    return number


def memory() -> int:
    """Return the bytes of memory that this machine has; a tebibyte where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**40


def check_memory(n: int, size: int) -> None:
    """Raise ValueError if ``n`` samples of ``size`` bytes are more than this machine's memory."""
    if n * size > memory():
        raise ValueError(
            f"n = {n:,} samples are an array of {n * size / 1e9:,.0f} GB, and this machine has "
            f"{memory() / 1e9:,.0f} GB of memory; stream() yields any number, a piece at a time"
        )
