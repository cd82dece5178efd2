"""Checks of the input arrays of a model by its signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from .binding import Value, length
from .fields import kind_of
from .random_inputs import Fields

__all__ = ["TYPES", "agree", "check_arrays"]

TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "uint8": "tensor(uint8)"}
"""What onnxruntime calls the types of a signature."""

_STYLES = {"truncation": 1.0, "styles": 0.0}  # inputs that are all mapped styles, and none of others, if left out


def check_arrays(fields: Fields, arrays: Sequence[Any]) -> dict[str, Value]:
    """Return one array for each input, [N, ...] each, as onnxruntime takes them, by name.

    Those of styles may all be left out, for plain samples. Raises ValueError for another number of them, and for
    shapes, types and values that the signature does not have.
    """
    if len(arrays) == sum(field["kind"] not in _STYLES for field in fields) < len(fields) and arrays:
        given, n = iter(arrays), length(_as_value(fields[0]["name"], arrays[0]))
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
    feed: dict[str, Value] = {}
    sizes = set()
    for field, array in zip(fields, arrays, strict=True):
        name = field["name"]
        value = _as_value(name, array)
        shape = tuple(value.shape() if isinstance(value, ort.OrtValue) else value.shape)
        if not (shape and shape[0] and _fits(shape[1:], field)):
            raise ValueError(f"input {name!r} has the shape {['N', *field['shape']]}, not {list(shape)}")
        sizes.add(shape[0])
        if isinstance(value, ort.OrtValue):
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


def _as_value(name: str, array: Any) -> Value:
    """Return an array in the memory of a device as onnxruntime's value, without a copy, and any other as NumPy's."""
    if isinstance(array, np.ndarray):
        return array
    if isinstance(array, ort.OrtValue):
        return array.numpy() if array.device_name() == "cpu" else array
    on_cpu = (1, 0)
    if getattr(array, "__dlpack_device__", lambda: on_cpu)() == on_cpu:
        return np.asarray(array)
    try:
        return ort.OrtValue.from_dlpack(array)
    except Exception as error:  # whatever its library raises
        strided = "IsContiguousTensor" in str(error)
        reason = "make it contiguous first" if strided else " ".join(str(error).split())[:200]
        raise ValueError(f"input {name!r} cannot be read where it is: {reason}") from None


def _fits(shape: Sequence[int], field: Mapping[str, Any]) -> bool:
    """Whether an input may have this shape; the height and width of some images may be any multiple of a number."""
    usual: list[int] = field["shape"]
    if not (multiple := field.get("multiple")):
        return list(shape) == usual
    return len(shape) == 3 and shape[0] == usual[0] and all(size and size % multiple == 0 for size in shape[1:])


def agree(found: Sequence[tuple[str, str, Sequence[Any]]], fields: Fields) -> bool:
    """Whether the inputs of the graph are those of the signature."""
    for (name, kind, (_, *shape)), field in zip(found, fields, strict=False):
        fixed = field["shape"][:1] if field.get("multiple") else field["shape"]
        if (name, kind) != (field["name"], TYPES[field["dtype"]]) or shape[: len(fixed)] != fixed:
            return False
        if len(shape) != len(field["shape"]):
            return False
    return len(found) == len(fields)
