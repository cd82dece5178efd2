"""The metadata of a file by its schema, every length limited: what may come out of somebody else's file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import chain
from math import prod
from typing import Any, NoReturn

from .errors import ModelError
from .text import NAME, fits

__all__ = ["SCHEMA", "Document", "check_document", "read_document"]

SCHEMA = 1
"""The version of the metadata document that is read here."""

Document = dict[str, Any]

_TEXT, _STRING, _LIST = 2**25, 10_000, 2**20
_ELEMENTS = 2**26  # of one input or output for one sample


def read_document(text: bytes, name: str) -> Document:
    """Read a document, checked; raises :class:`ModelError` with the name of the file in front."""
    document: Document
    newer = False
    try:
        if len(text) > _TEXT:
            raise ValueError("it is too long")
        document = json.loads(text, parse_constant=_no_constant)
        newer = document["schema"] > SCHEMA
        if not newer:
            check_document(document)
    except ModelError as error:
        raise ModelError(f"{name} has ganzoo metadata that cannot be read: {error}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ModelError(f"{name} has ganzoo metadata that cannot be read") from None
    if newer:
        number = document["schema"] if isinstance(document["schema"], int) else 0
        raise ModelError(f"{name} is of schema {number % 10**6}, this runtime reads {SCHEMA}: update ganzoo")
    return document


def check_document(document: Any) -> None:
    """Raise :class:`ModelError` with what is wrong with a document, which is whatever JSON can say."""
    _need(isinstance(document, dict) and type(document.get("schema")) is int, "it has no schema")
    _plain(document)
    signature = document.get("signature")
    _need(isinstance(signature, dict) and isinstance(signature.get("inputs"), list), "it has no signature")
    inputs = signature["inputs"]
    _need(1 <= len(inputs) <= 32, "its signature has no inputs, or too many")
    for field in (*inputs, signature.get("output")):
        _check_field(field, last=field is signature.get("output"))
    names = [field["name"] for field in inputs]
    _need(len({*names}) == len(names), "two inputs have one name")
    _need(document.get("precision", "fp32") in ("fp32", "fp16", "int8"), "its precision is none that there is")
    latents = {field["name"]: prod(field["shape"]) for field in inputs if field["kind"] == "latent"}
    directions, means = document.get("directions", {}), document.get("latent_mean", {})
    _need(isinstance(directions, dict), "its directions have no names")
    for name, direction in directions.items():
        what = f"the direction {name!r}"
        _need(fits(name), f"{what} has a name that cannot be kept: {NAME}")
        _need(isinstance(direction, dict), f"{what} is no object with 'latent' and 'vector'")
        _check_vector(direction.get("vector"), direction.get("latent"), latents, what)
        low, high = _pair(direction.get("range"), f"the range of {what}")
        _need(low < high, f"the range of {what} does not run from a lower to a higher number")
        _need(isinstance(direction.get("method", ""), str), f"the method of {what} is no text")
    _need(isinstance(means, dict), "the mean of its latents is no object")
    for name, mean in means.items():
        _check_vector(mean, name, latents, "the mean")


def _check_field(field: Any, *, last: bool) -> None:
    _need(isinstance(field, dict), "a part of its signature is no object")
    name, kind, shape = (field.get(key) for key in ("name", "kind", "shape"))
    _need(isinstance(name, str) and isinstance(kind, str) and bool(name or last), "a part of its signature has no name")
    _need(isinstance(shape, list) and len(shape) <= 7, f"{name!r} has no shape")
    _need(all(_whole(size) for size in shape), f"the shape of {name!r} is not made of whole numbers")
    _need(prod(shape) <= _ELEMENTS, f"{name!r} is too large")
    dtype = {"label": "int64"}.get(kind, "uint8" if kind == "image" and field.get("layout") else "float32")
    _need(field.get("dtype") == dtype, f"{name!r} is not {dtype}")
    match kind:
        case "latent":
            _need(field.get("distribution") in ("normal", "uniform"), f"{name!r} has no distribution that there is")
        case "label":
            classes = field.get("classes")
            _need(_whole(classes) and not shape and classes <= _LIST, f"{name!r} has no classes")
            _names(field, classes)
        case "attributes":
            _need(len(shape) == 1, f"{name!r} is no vector")
            _names(field, *shape)
            examples = field.get("examples")
            _need(isinstance(examples, list), f"{name!r} has no examples")
            for row in examples:
                _numbers(row, shape[0], f"an example of {name!r}")
        case "image" | "mask":
            _need(len(shape) == 3, f"{name!r} is no image")
            _check_image(field, name, shape, last)


def _check_image(field: Mapping[str, Any], name: str, shape: list[int], last: bool) -> None:
    layout, multiple = field.get("layout", ""), field.get("multiple", 1)
    _need(layout in ("", "NCHW", "NHWC") and (last or not layout), f"the layout of {name!r} is none that there is")
    height, width = shape[:2] if layout == "NHWC" else shape[1:]
    fits = _whole(multiple) and not (height % multiple or width % multiple)
    _need(fits, f"the size of {name!r} is no multiple of what it says")
    if field["kind"] == "image":
        low, high = _pair(field.get("range"), f"the range of {name!r}")
        _need(low < high, f"the range of {name!r} does not run from a lower to a higher number")
        _need(not layout or (low, high) == (0, 255), f"the range of {name!r} is not that of pixels")


def _check_vector(values: Any, latent: Any, latents: Mapping[str, int], what: str) -> None:
    known = isinstance(latent, str) and latent in latents
    _need(known, f"{what} is of a latent that the network does not have; it has: {', '.join(latents) or 'none'}")
    _numbers(values, latents[latent], what)


def _numbers(values: Any, count: int, what: str) -> None:
    _need(isinstance(values, list) and len(values) == count, f"{what} is no list of {count} numbers")
    # As float32, which is what they are used as.
    _need(all(type(each) in (int, float) and abs(each) <= 3.4e38 for each in values), f"{what} has what is no number")


def _pair(values: Any, what: str) -> tuple[float, float]:
    _numbers(values, 2, what)
    return float(values[0]), float(values[1])


def _names(field: Mapping[str, Any], count: int) -> None:
    names = field.get("names")
    right = isinstance(names, list) and len(names) in (0, count) and all(isinstance(name, str) for name in names)
    _need(right, f"{field['name']!r} has names, but not one for each of {count}")
    _need(all(map(fits, names)), f"{field['name']!r} has a name that cannot be kept: {NAME}")


def _whole(value: Any) -> bool:
    return type(value) is int and 0 < value <= 2**40


def _plain(value: Any, depth: int = 0) -> None:
    """Check that lists and texts are not endless, and that texts are what files can keep."""
    _need(depth <= 32, "it is too deep")
    if isinstance(value, str):
        _need(len(value) <= _STRING, "it has a text that is too long")
        _need(fits(value, lines=True), "it has a text that cannot be kept: control characters, or half of a character")
    elif isinstance(value, dict | list):
        _need(len(value) <= _LIST, "it has a list that is too long")
        for each in chain(value, value.values()) if isinstance(value, dict) else value:
            if not isinstance(each, float | int):
                _plain(each, depth + 1)
    elif isinstance(value, float):
        _need(math.isfinite(value), "it has a number that is not finite")


def _need(condition: bool, reason: str) -> None:
    if not condition:
        raise ModelError(reason)


def _no_constant(_: str) -> NoReturn:
    raise ValueError
