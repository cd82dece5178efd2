"""Checks of what a model is given, by its signature; NumPy alone, for files and for networks in torch alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .fields import kind_of
from .random_inputs import Fields

__all__ = ["TYPES", "check_inputs"]

TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "uint8": "tensor(uint8)"}
"""What onnxruntime calls the types of a signature."""

_STYLES = {"truncation": 1.0, "styles": 0.0}  # inputs that are all mapped styles, and none of others, if left out


def check_inputs(fields: Fields, arrays: Sequence[Any]) -> dict[str, Any]:
    """Return one array for each input, [N, ...] each, of its type and contiguous, by name.

    An array is NumPy's, or an OrtValue on a device, which stays as it is and whose values are not looked at. Those of
    styles may all be left out, for plain samples. Raises ValueError for another number of them, and for shapes, types
    and values that the signature does not have.
    """
    if len(arrays) == sum(field["kind"] not in _STYLES for field in fields) < len(fields) and arrays:
        given, n = iter(arrays), (_shape(arrays[0]) or (1,))[0]
        arrays = [
            np.full((n, *field["shape"]), _STYLES[field["kind"]], np.float32)
            if field["kind"] in _STYLES
            else next(given)
            for field in fields
        ]
    if len(arrays) != len(fields):
        raise ValueError(
            f"this model takes the inputs {', '.join(field['name'] for field in fields)}; {len(arrays)} were given"
        )
    feed: dict[str, Any] = {}
    sizes = set()
    for field, value in zip(fields, arrays, strict=True):
        name, shape = field["name"], _shape(value)
        if not (shape and shape[0] and _fits(shape[1:], field)):
            raise ValueError(f"input {name!r} has the shape {['N', *field['shape']]}, not {list(shape)}")
        sizes.add(shape[0])
        if not isinstance(value, np.ndarray):
            if value.data_type() != TYPES[field["dtype"]]:
                raise ValueError(f"input {name!r} is {field['dtype']}, not {value.data_type()}")
            feed[name] = value
            continue
        if not np.can_cast(value.dtype, field["dtype"], "same_kind"):
            raise ValueError(f"input {name!r} is {field['dtype']}, not {value.dtype}")
        kind_of(field).check(value, field)
        feed[name] = np.ascontiguousarray(value, field["dtype"])
    if len(sizes) > 1:
        raise ValueError(f"the inputs of one call have one batch size, not {sorted(sizes)}")
    return feed


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape if isinstance(value, np.ndarray) else value.shape())


def _fits(shape: Sequence[int], field: Mapping[str, Any]) -> bool:
    """Whether an input may have this shape; the height and width of some images may be any multiple of a number."""
    usual: list[int] = field["shape"]
    if not (multiple := field.get("multiple")):
        return list(shape) == usual
    return len(shape) == 3 and shape[0] == usual[0] and all(size and size % multiple == 0 for size in shape[1:])
