"""Kinds of fields, which are a network's inputs and its output as JSON: one table for networks in torch and for files.

A kind that is not in the table, such as a plugin's, is a plain array: it is computed, checked and stored by its shape
and dtype, and as an input it has to be given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .rules import need, numbers, pair, value_range
from .tables import check_table, structured, table_rows
from .text import NAME, fits

__all__ = ["KINDS", "Kind", "check_field", "check_labels", "kind_of", "lines", "noise", "stored"]

Document = Mapping[str, Any]
Array = NDArray[Any]
Random = np.random.Generator


class Kind(NamedTuple):
    """What one must know of a kind of field; each function is given the field."""

    rules: Callable[[Document], None] = lambda field: None
    """Raises :class:`ModelError` for what is wrong with the field beside its name, shape and dtype."""
    dtypes: tuple[str, ...] = ("float32",)
    """What its numbers can be."""
    drawn: bool = False
    """Whether samples can be drawn from it without being given it."""
    draw: Callable[[Random, Document, int], Array] | None = None
    """Returns the next ``n`` values of a stream of random numbers, [n, *shape], if that is how it is drawn."""
    check: Callable[[Array, Document], None] = lambda values, field: None
    """Raises ValueError for values, [N, *shape] of its dtype, that are none of it."""
    stored: Callable[[Array, Document], Array] = lambda samples, field: samples
    """Returns a network's samples as files hold them; see :func:`stored`."""


def kind_of(field: Document) -> Kind:
    """Return what is known of the field's kind."""
    return KINDS.get(field["kind"], _PLAIN)


def check_field(field: Document) -> None:
    """Raise :class:`ModelError` with what is wrong with a field, whose entries are whatever JSON can say.

    Of a kind that is not known here, name, shape and dtype are checked.
    """
    name, kind, shape = field.get("name"), field.get("kind"), field.get("shape")
    if not (isinstance(name, str) and isinstance(kind, str) and isinstance(shape, list)):
        raise ModelError("a part of its signature has no name, no kind or no shape")
    need(all(map(_whole, shape)), f"the shape of {name!r} is not made of whole numbers of at least 1")
    dtypes = kind_of(field).dtypes
    need(field.get("dtype") in dtypes, f"{name!r} is not {' or '.join(dtypes)}")
    kind_of(field).rules(field)


def stored(samples: Array, field: Document) -> Array:
    """Return samples [N, ...] as files hold them: as they are, tokens as whole numbers, tables as named columns.

    Sequences with units are named columns too, [N, L] a channel.
    Named columns are those of NumPy's structured arrays. What is stored already stays as it is.
    """
    return samples if samples.dtype.names else kind_of(field).stored(samples, field)


def lines(samples: Array, field: Document) -> list[str]:
    r"""Return a line for each of a model's samples of tokens: their text, or numbers where tokens have no texts.

    In a text, a line feed is written ``\n`` and a backslash ``\\``, so that a sample is one line, and the line says it.
    """
    found = stored(samples, field)
    if found.dtype.names:
        return [text.replace("\\", "\\\\").replace("\n", "\\n") for text in found["text"].tolist()]
    return [" ".join(map(str, row)) for row in found.tolist()]


def noise(random: Random, field: Document, n: int) -> NDArray[np.float32]:
    """Return the next ``n`` latents of the stream, [n, *shape]."""
    shape = (n, *field["shape"])
    if field["distribution"] == "normal":
        return random.standard_normal(shape, dtype=np.float32)
    return random.random(shape, dtype=np.float32) * np.float32(2) - np.float32(1)


def check_labels(name: str, labels: Array, classes: int) -> None:
    """Raise ValueError unless all of them are in 0 .. classes - 1."""
    if (wrong := labels[(labels < 0) | (labels >= classes)]).size:
        raise ValueError(f"there is no class {wrong.flat[0]}: the label {name!r} has the classes 0 .. {classes - 1}")


def _latent(field: Document) -> None:
    name = field["name"]
    need(bool(field["shape"]), f"{name!r} has no numbers")
    need(field.get("distribution") in ("normal", "uniform"), f"{name!r} is neither 'normal' nor 'uniform'")
    truncation = field.get("truncation", "scaled")
    need(truncation in ("scaled", "resampled"), f"the truncation of {name!r} is neither 'scaled' nor 'resampled'")
    right = truncation == "scaled" or field["distribution"] == "normal"
    need(right, f"{name!r} is resampled where it is truncated, which only normal latents are")


def _styles(field: Document) -> None:
    need(len(field["shape"]) == 2, f"{field['name']!r} has no styles, a vector for each layer")


def _label(field: Document) -> None:
    classes = field.get("classes")
    need(_whole(classes) and not field["shape"], f"{field['name']!r} has no classes; a label has at least one")
    _names(field, classes, "a class")


def _attributes(field: Document) -> None:
    _vector(field)
    (dim,) = field["shape"]
    _names(field, dim, "an attribute")
    need(isinstance(field.get("examples"), list), f"{field['name']!r} has no examples")
    for row in field["examples"]:
        numbers(row, dim, f"an example of {field['name']!r}")


def _vector(field: Document) -> None:
    need(len(field["shape"]) == 1, f"{field['name']!r} is no vector")


def _image(field: Document) -> None:
    dtype = "uint8" if field.get("layout") else "float32"
    need(field["dtype"] == dtype, f"{field['name']!r} is not {dtype}")
    _mask(field)
    low, high = value_range(field, f"{field['name']!r}")
    need(not field.get("layout") or (low, high) == (0, 255), f"the range of {field['name']!r} is not that of pixels")


def _mask(field: Document) -> None:
    name, shape, layout, multiple = field["name"], field["shape"], field.get("layout", ""), field.get("multiple", 1)
    need(len(shape) == 3, f"{name!r} is no image")
    need(layout in ("", "NCHW", "NHWC"), f"the layout of {name!r} is neither 'NCHW' nor 'NHWC'")
    height, width = shape[:2] if layout == "NHWC" else shape[1:]
    right = _whole(multiple) and not (height % multiple or width % multiple)
    need(right, f"the size of {name!r}, {height}x{width}, is no multiple of what it says")


def _rectangles(random: Random, field: Document, n: int) -> NDArray[np.float32]:
    """Return masks, [n, 1, H, W], of one rectangle each, a quarter to a half as high and as wide as the image."""
    sides = np.array(field["shape"][1:])
    rolls = random.random((n, 2, 2))
    sizes = np.maximum(1, np.round(sides * (0.25 + 0.25 * rolls[:, 0]))).astype(np.int64)
    starts = np.floor((sides - sizes + 1) * rolls[:, 1]).astype(np.int64)
    inside = [
        (np.arange(side) >= start[:, None]) & (np.arange(side) < (start + size)[:, None])
        for side, start, size in zip(sides, starts.T, sizes.T, strict=True)
    ]
    holes: NDArray[np.bool_] = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return holes.astype(np.float32)


def _sequence(field: Document) -> None:
    name, shape, units = field["name"], field["shape"], field.get("units", [])
    need(len(shape) == 2, f"{name!r} is no sequence of channels")
    value_range(field, f"{name!r}")
    _names(field, shape[0], "a channel")
    need(isinstance(units, list) and len(units) in (0, shape[0]), f"{name!r} has units, but not of each channel")
    for each in units:
        low, high = pair(each, f"a channel's units of {name!r}")
        need(low < high, f"a channel's units of {name!r} do not run from a lower to a higher number")
    right = not units or ("" not in field["names"] and len({*field["names"]}) == len(field["names"]))
    need(right, f"two channels of {name!r} have one name, or one has none")


def _stored_sequence(samples: Array, field: Document) -> Array:
    """Return the channels by name in their units, float32 [N, L] each; without units the samples as they are."""
    if not (units := field.get("units")):
        return samples
    (start, stop), names = field["range"], field["names"] or [f"channel_{i}" for i in range(len(units))]
    share = (samples.astype(np.float64) - start) / (stop - start)
    channels = {
        name: (low + share[:, index] * (high - low)).astype(np.float32)
        for index, (name, (low, high)) in enumerate(zip(names, units, strict=True))
    }
    return structured(channels)


def _tokens(field: Document) -> None:
    name, shape, vocabulary = field["name"], field["shape"], field.get("vocabulary")
    encoded = field["dtype"] == "float32"
    right = _whole(vocabulary) and (len(shape) == 2 and shape[1] == vocabulary if encoded else len(shape) == 1)
    need(right, f"the shape of {name!r} is not that of tokens of its vocabulary")
    texts: Any = field.get("tokens")
    right = isinstance(texts, list) and len(texts) in (0, vocabulary) and all(isinstance(text, str) for text in texts)
    need(right, f"{name!r} has texts of tokens, but not one for each of {vocabulary}")
    for text in texts:
        need(fits(text, lines=True), f"{text!r} cannot be the text of a token: {NAME}")
    examples: Any = field.get("examples", [])
    need(isinstance(examples, list) and not (examples and encoded), f"the examples of {name!r} are no list of tokens")
    for row in examples:
        right = isinstance(row, list) and len(row) == shape[0] and all(type(each) is int for each in row)
        need(right and all(0 <= each < vocabulary for each in row), f"an example of {name!r} is none of its tokens")


def _check_tokens(values: Array, field: Document) -> None:
    if field["dtype"] == "int64" and (wrong := values[(values < 0) | (values >= field["vocabulary"])]).size:
        last = field["vocabulary"] - 1
        raise ValueError(f"there is no token {wrong.flat[0]}: {field['name']!r} has the tokens 0 .. {last}")


def _stored_tokens(samples: Array, field: Document) -> Array:
    """Return whole numbers, int64 [N, L], with the texts if the tokens have them: columns ``tokens`` and ``text``.

    Where token 0 has no text, the first one ends a sample: what stands behind is no part of the text, nor is a space at
    its front, as words have their space before them.
    """
    numbers = samples if samples.dtype.kind in "iu" else samples.argmax(axis=-1)
    if not (texts := field["tokens"]):
        return numbers
    longest = max(1, numbers.shape[1] * max(map(len, texts)))  # not of these samples alone: the next are like them
    rows, padded = numbers.tolist(), texts[0] == ""
    if padded:
        rows = [row[: row.index(0)] if 0 in row else row for row in rows]
    joined = ["".join(texts[index] for index in row) for row in rows]
    text = np.array([each.removeprefix(" ") if padded else each for each in joined], f"U{longest}")
    return structured({"tokens": numbers, "text": text})


def _names(field: Document, count: Any, what: str) -> None:
    names: Any = field.get("names")
    right = isinstance(names, list) and len(names) in (0, count) and all(isinstance(name, str) for name in names)
    need(right, f"{field['name']!r} has names, but not one for each of {count}")
    for name in names:
        need(fits(name), f"{name!r} cannot be the name of {what}: {NAME}; rename it")


def _whole(value: Any) -> bool:
    return type(value) is int and value > 0


_PLAIN = Kind(dtypes=("float32", "int64", "uint8"))

# Each input that is drawn has a random stream of its own, in the order of this table and then of the signature.
KINDS: Mapping[str, Kind] = {
    "latent": Kind(_latent, drawn=True, draw=noise),
    "mask": Kind(_mask, drawn=True, draw=_rectangles),
    "truncation": Kind(_vector, drawn=True),
    "styles": Kind(_styles, drawn=True),
    "label": Kind(
        _label,
        ("int64",),
        drawn=True,
        check=lambda values, field: check_labels(field["name"], values, field["classes"]),
    ),
    "attributes": Kind(_attributes, drawn=True),
    "image": Kind(_image, ("float32", "uint8")),
    "points": Kind(_vector),
    "scores": Kind(),
    "sequence": Kind(_sequence, stored=_stored_sequence),
    "tokens": Kind(_tokens, ("float32", "int64"), check=_check_tokens, stored=_stored_tokens),
    "table": Kind(check_table, stored=table_rows),
}
"""The kinds that are known here."""
