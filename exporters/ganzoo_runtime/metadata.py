"""Reading and checking the metadata of a file from outside: its schema, with every length limited."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any, NoReturn

from .errors import ModelError
from .fields import check_field
from .rules import need, numbers, pair
from .text import NAME, counted, fits

__all__ = ["SCHEMA", "Document", "check_directions", "check_document", "read_document"]

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
    need(isinstance(document, dict) and type(document.get("schema")) is int, "it has no schema")
    _plain(document)
    signature = document.get("signature")
    need(isinstance(signature, dict) and isinstance(signature.get("inputs"), list), "it has no signature")
    inputs = signature["inputs"]
    need(1 <= len(inputs) <= 32, "its signature has no inputs, or too many")
    for field in (*inputs, signature.get("output")):
        _check_input_or_output(field, last=field is signature.get("output"))
    names = [field["name"] for field in inputs]
    need(len({*names}) == len(names), "two inputs have one name")
    need(document.get("precision", "fp32") in ("fp32", "fp16", "int8"), "its precision is none that there is")
    _check_directions(document, inputs)


def check_directions(entries: Any, inputs: Sequence[Mapping[str, Any]] | None) -> None:
    """Raise :class:`ModelError` for entries of a document that a file of directions cannot have.

    Where a network's ``inputs`` are given, its directions and means are of the latents and styles among them.
    """
    if inputs is not None:
        _check_directions(entries, inputs)
    _plain(entries)


def _check_directions(document: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> None:
    means = document.get("latent_mean", {})
    need(isinstance(means, dict), "the mean of its latents is no object")
    for name, mean in means.items():
        _check_vector(mean, name, _latents(inputs), "the mean")
    directions = document.get("directions", {})
    need(isinstance(directions, dict), "its directions have no names")
    styles = {field["name"]: field["shape"][0] for field in inputs if field["kind"] == "styles"}
    for name, direction in directions.items():
        what = f"the direction {name!r}"
        need(fits(name), f"{what} has a name that cannot be kept: {NAME}")
        need(isinstance(direction, dict), f"{what} is no object with 'latent' and 'vector'")
        _check_vector(direction.get("vector"), direction.get("latent"), _latents(inputs), what)
        low, high = pair(direction.get("range"), f"the range of {what}")
        need(low < high, f"the range of {what} does not run from a lower to a higher number")
        need(isinstance(direction.get("method", ""), str), f"the method of {what} is no text")
        if (layers := direction.get("layers")) is not None:
            _check_layers(layers, styles.get(direction["latent"], 0), what)


def _latents(inputs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the size of a direction, and of a mean, of each latent; those of styles are one for all layers."""
    sizes = {field["name"]: prod(field["shape"]) for field in inputs if field["kind"] == "latent"}
    return sizes | {field["name"]: field["shape"][1] for field in inputs if field["kind"] == "styles"}


def _check_layers(layers: Any, count: int, what: str) -> None:
    """Raise :class:`ModelError` unless these are the first and the last of the layers that a direction changes."""
    right = isinstance(layers, list) and len(layers) == 2 and all(type(layer) is int for layer in layers)
    right = right and 0 <= layers[0] <= layers[1] < count
    need(right, f"the layers of {what} are no range of the {count} that there are")


def _check_input_or_output(field: Any, *, last: bool) -> None:
    need(isinstance(field, dict), "a part of its signature is no object")
    check_field(field)
    name, shape = field["name"], field["shape"]
    need(bool(name or last), "a part of its signature has no name")
    need(len(shape) <= 7 and prod(shape) <= _ELEMENTS, f"{name!r} is too large")
    need(field["kind"] != "label" or field["classes"] <= _LIST, f"{name!r} has too many classes")
    need(last or not field.get("layout"), f"the layout of {name!r} is that of pixels, which no network takes")


def _check_vector(values: Any, latent: Any, latents: Mapping[str, int], what: str) -> None:
    known = isinstance(latent, str) and latent in latents
    need(known, f"{what} is of a latent that the network does not have; it has: {', '.join(latents) or 'none'}")
    need(isinstance(values, list), f"{what} is no list of numbers")
    count = latents[latent]
    need(
        len(values) == count,
        f"{what} has {counted(len(values), 'number')} and is of another model: {latent!r} has {count}",
    )
    numbers(values, count, what)


def _plain(value: Any, depth: int = 0) -> None:
    """Check that lists and texts have limited lengths, that texts can be written to files, and numbers are finite."""
    need(depth <= 32, "it is too deep")
    if isinstance(value, str):
        need(len(value) <= _STRING, "it has a text that is too long")
        need(fits(value, lines=True), "it has a text that cannot be kept: control characters, or half of a character")
    elif isinstance(value, dict | list):
        need(len(value) <= _LIST, "it has a list that is too long")
        for each in chain(value, value.values()) if isinstance(value, dict) else value:
            if isinstance(each, float):
                need(math.isfinite(each), "it has a number that is not finite")
            elif not isinstance(each, int):
                _plain(each, depth + 1)


def _no_constant(_: str) -> NoReturn:
    raise ValueError
