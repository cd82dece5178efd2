"""Kinds of fields, which are a network's inputs and its output as JSON: one table for networks in torch and for files.

A kind that is not in the table, such as a plugin's, is a plain array: it is computed, checked and stored by its shape
and dtype, and as an input it has to be given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .text import NAME, fits

__all__ = ["KINDS", "Kind", "check_field", "check_labels", "kind_of", "need", "noise", "numbers", "pair", "stored"]

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

    Named columns are those of NumPy's structured arrays. What is stored already stays as it is.
    """
    return samples if samples.dtype.names else kind_of(field).stored(samples, field)


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
    low, high = _range(field, f"{field['name']!r}")
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
    need(len(field["shape"]) == 2, f"{field['name']!r} is no sequence of channels")
    _range(field, f"{field['name']!r}")
    _names(field, field["shape"][0], "a channel")


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
    """Return whole numbers, int64 [N, L], with the texts if the tokens have them: columns ``tokens`` and ``text``."""
    numbers = samples if samples.dtype.kind in "iu" else samples.argmax(axis=-1)
    if not (texts := field["tokens"]):
        return numbers
    longest = max(1, numbers.shape[1] * max(map(len, texts)))  # not of these samples alone: the next are like them
    text = np.array(["".join(texts[index] for index in row) for row in numbers.tolist()], f"U{longest}")
    return _columns({"tokens": numbers, "text": text})


def _table(field: Document) -> None:
    name, columns = field["name"], field.get("columns")
    right = isinstance(columns, list) and columns and all(isinstance(column, dict) for column in columns)
    need(bool(right), f"{name!r} has no columns")
    assert isinstance(columns, list)
    names, size = [column.get("name") for column in columns], 0
    for column, called in zip(columns, names, strict=True):
        need(isinstance(called, str) and called != "" and fits(called), f"a column of {name!r} has no name: {NAME}")
        categories = column.get("categories")
        need(("range" in column) != ("categories" in column), f"the column {called!r} needs a range or categories")
        if "range" in column:
            _range(column, f"the column {called!r}")
        else:
            right = isinstance(categories, list) and categories and all(isinstance(each, str) for each in categories)
            need(bool(right), f"the column {called!r} has no categories")
            need(len({*categories}) == len(categories), f"two categories of the column {called!r} have one name")
            for each in categories:
                need(fits(each), f"{each!r} cannot be the name of a category: {NAME}; rename it")
        size += 1 if "range" in column else len(categories)
    need(len({*names}) == len(names), f"two columns of {name!r} have one name")
    need(field["shape"] == [size], f"the shape of {name!r} is not that of its columns")


def _stored_table(samples: Array, field: Document) -> Array:
    """Return the columns by name: numbers in their range as float32, categories as texts."""
    sizes = [len(column.get("categories", " ")) for column in field["columns"]]
    columns = {}
    for column, stop, size in zip(field["columns"], accumulate(sizes), sizes, strict=True):
        values = samples[:, stop - size : stop]
        if "categories" in column:
            columns[column["name"]] = np.array(column["categories"])[values.argmax(axis=1)]
        else:
            low, high = column["range"]
            unit = (values[:, 0].clip(-1, 1).astype(np.float64) + 1) / 2
            columns[column["name"]] = (low + unit * (high - low)).astype(np.float32)
    return _columns(columns)


def _columns(columns: Mapping[str, Array]) -> Array:
    """Return columns [N, ...] of one length as a structured array [N]."""
    parts = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
    joined = np.empty(len(next(iter(columns.values()))), parts)
    for name, values in columns.items():
        joined[name] = values
    return joined


def _range(field: Document, what: str) -> tuple[float, float]:
    low, high = pair(field.get("range"), f"the range of {what}")
    need(low < high, f"the range of {what} does not run from a lower to a higher number")
    return low, high


def _names(field: Document, count: Any, what: str) -> None:
    names: Any = field.get("names")
    right = isinstance(names, list) and len(names) in (0, count) and all(isinstance(name, str) for name in names)
    need(right, f"{field['name']!r} has names, but not one for each of {count}")
    for name in names:
        need(fits(name), f"{name!r} cannot be the name of {what}: {NAME}; rename it")


def pair(values: Any, what: str) -> tuple[float, float]:
    """Return two numbers; raises :class:`ModelError` if ``values`` is not a list of them."""
    numbers(values, 2, what)
    return float(values[0]), float(values[1])


def numbers(values: Any, count: int, what: str) -> None:
    """Raise :class:`ModelError` unless ``values`` is a list of so many numbers that float32 can hold."""
    need(isinstance(values, list) and len(values) == count, f"{what} is no list of {count} numbers")
    right = all(isinstance(each, int | float) and not isinstance(each, bool) and abs(each) <= 3.4e38 for each in values)
    need(right, f"{what} has what is no number")


def _whole(value: Any) -> bool:
    return type(value) is int and value > 0


def need(condition: bool, reason: str) -> None:
    """Raise :class:`ModelError` for this reason unless the condition holds."""
    if not condition:
        raise ModelError(reason)


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
    "sequence": Kind(_sequence),
    "tokens": Kind(_tokens, ("float32", "int64"), check=_check_tokens, stored=_stored_tokens),
    "table": Kind(_table, stored=_stored_table),
}
"""The kinds that are known here."""
