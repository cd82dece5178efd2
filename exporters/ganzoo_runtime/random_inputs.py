"""The inputs of a network: latents and masks drawn from a seed, labels, attributes and captions as requested.

Both the network in torch and the exported file use this module. So both accept the same requests, refuse the same ones
with the same message, and use the same inputs for a seed. Fields are the inputs of a signature as JSON.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .captions import caption_tokens, is_caption
from .fields import KINDS, check_labels, kind_of
from .latent_arithmetic import pick, truncate, truncated_normal
from .text import class_index, did_you_mean

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
_LARGEST = float(np.finfo(np.float32).max)
_PIECE = 1 << 20  # numbers of latents that are drawn at a time where few of them are wanted


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
        self._rows = _label_rows(fields, n, label) | _attribute_rows(fields, n, attributes)
        self._rows |= _text_rows(fields, text)
        self._rows |= (rows := _latent_rows(fields, n, latents))
        self._rows |= _style_rows(fields, truncation, self._means, rows)
        # Where there are styles, they are truncated in place of latents.
        self._truncation = None if truncation is None or _has_styles(fields) else _truncation(truncation, fields)
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

    def take(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the next ``count`` rows of every input, by its name."""
        index = rest = np.arange(self._done, self._done + count)
        self._done += count
        inputs: dict[str, NDArray[Any]] = {}
        for field in self._fields:
            name = field["name"]
            if (rows := self._rows.get(name)) is not None:
                inputs[name] = rows[index % len(rows)]
            elif (draw := kind_of(field).draw) is not None:
                values = inputs[name] = draw(self._streams[name], field, count)
                if field["kind"] == "latent" and self._truncation is not None:
                    inputs[name] = self._truncated(values, field, self._truncation)
            else:
                # Labels that were not requested take all their combinations in turn, the first label changing fastest:
                # the digits of the sample's number, so any piece can be computed without those before it.
                inputs[name], rest = rest % field["classes"], rest // field["classes"]
        return inputs

    def _truncated(self, values: Floats, field: Mapping[str, Any], truncation: float) -> Floats:
        if _is_resampled(field):
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
    if _has_styles(fields):
        _style_rows(fields, truncation, {}, {})  # which says what is wrong with it
        truncation = None
    latents = [field for field in fields if field["kind"] == "latent"]
    if not latents:
        raise ValueError("this model takes no latents")
    names = [field["name"] for field in latents]
    name = names[0] if name is None else name
    if name not in names:
        raise _unknown("latent", name, names)
    return draw_numbered(latents, n, seed, truncation=truncation, means=means)[name]


def draw_numbered(fields: Fields, n: int | Sequence[int], seed: int = 0, **asked: Any) -> dict[str, NDArray[Any]]:
    """Return the inputs of ``n`` samples, or of those of these numbers, by name; ``asked`` as in :class:`Drawing`."""
    if not isinstance(n, Sequence | np.ndarray):
        drawing = Drawing(fields, n, seed, **asked)
        return drawing.take(drawing.n)

    def pieces() -> Iterator[dict[str, NDArray[Any]]]:
        # Philox can jump, but normal numbers use a varying count of random words (ziggurat), so sample 1000 is found
        # only by drawing those before it: in pieces, to keep the memory small.
        drawing = Drawing(fields, max(n) + 1, seed, **asked)
        size = max(1, _PIECE // max(1, sum(math.prod(field["shape"]) for field in fields)))
        for done in range(0, drawing.n, size):
            yield drawing.take(min(size, drawing.n - done))

    return pick(pieces(), n)


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
        raise ValueError(f"{what} is a whole number of at least {least}, not {_shown(value)}")
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


def _has_styles(fields: Fields) -> bool:
    return any(field["kind"] == "truncation" for field in fields)


def _is_resampled(field: Mapping[str, Any]) -> bool:
    return field.get("truncation") == "resampled"


def _truncation(value: float | list[float] | tuple[float, ...], fields: Fields = ()) -> float:
    if isinstance(value, list | tuple):
        raise ValueError("this model has no styles, so its truncation is one number")
    threshold = any(map(_is_resampled, fields))  # of which 0 lets no number be
    try:
        right = math.isfinite(value) and 0 <= float(value) <= _LARGEST and not (threshold and value == 0)
    except (TypeError, OverflowError):
        right = False
    if not right:
        least = "number above 0 for this model" if threshold else "number of at least 0"
        raise ValueError(f"the truncation is a finite {least}, not {_shown(value)}")
    return value


def _label_rows(fields: Fields, n: int, label: Labels) -> dict[str, NDArray[Any]]:
    """Return the classes that are asked for, int64 [1] or [n], by the name of the label; others take turns."""
    labels = {field["name"]: field for field in fields if field["kind"] == "label"}
    if label is None:
        return {}
    if not isinstance(label, Mapping):
        if not labels:
            raise ValueError("this model has no labels; leave the label out")
        if len(labels) > 1:
            raise ValueError(
                f"this model has the labels {', '.join(labels)}; name the one that is meant: {{name: class}}"
            )
        label = dict.fromkeys(labels, label)
    rows = {}
    for name, value in label.items():
        if name not in labels:
            raise _unknown("label", name, labels)
        if isinstance(value, str) and value == "all":
            continue
        try:
            row = np.asarray(value)
        except ValueError:  # lists of several lengths
            row = np.empty(0)
        if row.dtype.kind not in "iuU" or row.shape not in ((), (n,)):
            raise ValueError(
                f"the label {name!r} is one class, by its index (a whole number) or its name, "
                f"or one for each of the {n} samples"
            )
        classes = labels[name]["classes"]
        if row.dtype.kind == "U":
            texts = row.ravel().tolist()
            index = {text: class_index(text, labels[name]["names"], classes, f"label {text!r}") for text in set(texts)}
            row = np.array([index[text] for text in texts])
        check_labels(name, row, classes)
        rows[name] = row.reshape(-1).astype(np.int64)
    return rows


def _attribute_rows(fields: Fields, n: int, attributes: Vectors) -> dict[str, NDArray[Any]]:
    """Return the vectors that take turns, float32 [any, dim], by the name of the field."""
    fields = [field for field in fields if field["kind"] == "attributes"]
    if attributes is not None and len(fields) != 1:
        several = f"several vectors of attributes ({', '.join(field['name'] for field in fields)})"
        raise ValueError(f"this model has {several if fields else 'no attributes'}; leave the attributes out")
    rows = {}
    for field in fields:
        (dim,) = field["shape"]
        if attributes is None or isinstance(attributes, Mapping):
            values = _finite(field["examples"] or [[0.0] * dim], "attributes")
            names = field["names"] or [str(index) for index in range(dim)]
            for name, value in (attributes or {}).items():
                key = name if field["names"] else str(name)  # an index is no name, also where names are numbers
                if key not in names:
                    raise _unknown("attribute", name, names)
                if (number := _finite(value, "attributes")).ndim:
                    raise ValueError(f"the attribute {name!r} is one number for all samples")
                values[:, names.index(key)] = number
            rows[field["name"]] = values
        else:
            rows[field["name"]] = _vectors(attributes, "attributes", [dim], n)
    return rows


def _text_rows(fields: Fields, text: Texts) -> dict[str, NDArray[Any]]:
    """Return the captions that take turns, int64 [any, length], by the name of the field."""
    rows = {each["name"]: each["examples"] for each in fields if each["kind"] == "tokens" and each.get("examples")}
    if text is not None:
        captions = [field for field in fields if is_caption(field)]
        if len(captions) != 1:
            several = f"several captions ({', '.join(field['name'] for field in captions)})"
            raise ValueError(f"this model takes {several if captions else 'no captions'}; leave the text out")
        texts = [text] if isinstance(text, str) else text
        right = isinstance(texts, Sequence | np.ndarray) and len(texts) > 0
        if not right or not all(isinstance(each, str) for each in texts):
            raise ValueError("the text is a caption for all samples, or several that take turns")
        rows[captions[0]["name"]] = [caption_tokens(each, captions[0]) for each in texts]
    return {name: np.array(tokens, np.int64) for name, tokens in rows.items()}


def _latent_rows(fields: Fields, n: int, latents: Given) -> dict[str, NDArray[Any]]:
    """Return the latents and styles that are given, float32 [1 or n, *shape], by name."""
    shapes = {field["name"]: field["shape"] for field in fields if field["kind"] in ("latent", "styles")}
    if latents is None:
        return {}
    if not shapes:
        raise ValueError("this model takes no latents")
    if not isinstance(latents, Mapping):
        latents = {next(iter(shapes)): latents}
    rows = {}
    for name, values in latents.items():
        if name not in shapes:
            if name == "noise":  # that came with styles
                raise ValueError("this model takes no noise maps; a run of stylegan2 does, and no exported file")
            raise _unknown("latent", name, shapes)
        rows[name] = _vectors(values, "noise maps" if name == "noise" else "latents", shapes[name], n)
    return rows


def _style_rows(
    fields: Fields, truncation: Truncation, means: Mapping[str, Floats], given: Mapping[str, Floats]
) -> dict[str, NDArray[Any]]:
    """Return the shares of the mapped styles, float32 [1, L], and the mean of styles that are not ``given``, [1, L, D].

    Of given styles the samples are drawn as they are.
    """
    rows: dict[str, NDArray[Any]] = {}
    for field in fields:
        name, shape = field["name"], field["shape"]
        if field["kind"] == "styles" and name not in given:
            rows[name] = np.broadcast_to(means.get(name, np.float32(0)), (1, *shape)).astype(np.float32)
        elif field["kind"] == "truncation":
            (layers,) = shape
            rows[name] = np.ones((1, layers), np.float32)
            if isinstance(truncation, list | tuple):
                if len(truncation) > layers:
                    raise ValueError(f"this model has {layers} styles; {len(truncation)} of them cannot be truncated")
                rows[name][0, : len(truncation)] = [_truncation(each) for each in truncation]
            elif truncation is not None:
                rows[name][:] = _truncation(truncation)
            if any(each["kind"] == "styles" and each["name"] in given for each in fields):
                rows[name][:] = 0
    return rows


def _unknown(what: str, name: Any, names: Iterable[str]) -> ValueError:
    return ValueError(f"this model has no {what} {name!r}{did_you_mean(str(name), names)}")


def _vectors(values: Any, what: str, shape: Sequence[int], n: int) -> Floats:
    """Return one vector for all samples, or one for each, as float32 [1 or n, *shape]."""
    vectors = _finite(values, what)
    if list(vectors.shape) not in ([*shape], [n, *shape]):
        raise ValueError(
            f"the {what} of {n} samples of this model have the shape {[*shape]} or {[n, *shape]}, "
            f"not {list(vectors.shape)}"
        )
    return vectors.reshape(-1, *shape)


def _shown(value: object) -> str:
    """Return any value in one line that is not long, whatever was given in place of a number."""
    return " ".join(repr(value).split())[:100]


def _finite(values: Any, what: str) -> Floats:
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} are numbers, as many for every sample") from None
    if not (np.abs(numbers) <= _LARGEST).all():
        raise ValueError(f"{what} are finite numbers that float32 can hold")
    return numbers.astype(np.float32)
