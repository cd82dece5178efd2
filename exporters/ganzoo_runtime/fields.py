"""Validation of fields (a network's inputs and its output) as JSON, for networks in torch and for files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ModelError
from .text import NAME, fits

__all__ = ["check_field", "need", "numbers", "pair"]


def check_field(field: Mapping[str, Any]) -> None:
    """Raise :class:`ModelError` with what is wrong with a field, whose entries are whatever JSON can say.

    Of a kind that is not known here, name, shape and dtype are checked.
    """
    name, kind, shape = field.get("name"), field.get("kind"), field.get("shape")
    if not (isinstance(name, str) and isinstance(kind, str) and isinstance(shape, list)):
        raise ModelError("a part of its signature has no name, no kind or no shape")
    need(all(map(_whole, shape)), f"the shape of {name!r} is not made of whole numbers of at least 1")
    dtype = {"label": "int64"}.get(kind, "uint8" if kind == "image" and field.get("layout") else "float32")
    need(field.get("dtype") == dtype, f"{name!r} is not {dtype}")
    match kind:
        case "latent":
            need(bool(shape), f"{name!r} has no numbers")
            need(field.get("distribution") in ("normal", "uniform"), f"{name!r} is neither 'normal' nor 'uniform'")
        case "label":
            classes = field.get("classes")
            need(_whole(classes) and not shape, f"{name!r} has no classes; a label has at least one")
            _names(field, classes, "a class")
        case "attributes":
            need(len(shape) == 1, f"{name!r} is no vector")
            _names(field, shape[0], "an attribute")
            need(isinstance(field.get("examples"), list), f"{name!r} has no examples")
            for row in field["examples"]:
                numbers(row, shape[0], f"an example of {name!r}")
        case "points":
            need(len(shape) == 1, f"{name!r} is no vector")
        case "image" | "mask":
            need(len(shape) == 3, f"{name!r} is no image")
            _image(field, name, shape)


def _image(field: Mapping[str, Any], name: str, shape: list[int]) -> None:
    layout, multiple = field.get("layout", ""), field.get("multiple", 1)
    need(layout in ("", "NCHW", "NHWC"), f"the layout of {name!r} is neither 'NCHW' nor 'NHWC'")
    height, width = shape[:2] if layout == "NHWC" else shape[1:]
    right = _whole(multiple) and not (height % multiple or width % multiple)
    need(right, f"the size of {name!r}, {height}x{width}, is no multiple of what it says")
    if field["kind"] == "image":
        low, high = pair(field.get("range"), f"the range of {name!r}")
        need(low < high, f"the range of {name!r} does not run from a lower to a higher number")
        need(not layout or (low, high) == (0, 255), f"the range of {name!r} is not that of pixels")


def _names(field: Mapping[str, Any], count: Any, what: str) -> None:
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
