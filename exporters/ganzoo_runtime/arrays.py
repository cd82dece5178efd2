"""The input arrays of a session, wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from .binding import Value
from .inputs import TYPES, check_inputs
from .random_inputs import Fields

__all__ = ["agree", "check_arrays"]


def check_arrays(fields: Fields, arrays: Sequence[Any]) -> dict[str, Value]:
    """Return one array for each input, as onnxruntime takes them, by name; see :func:`.inputs.check_inputs`.

    What lies in the memory of a device, in an array of any library that knows DLPack, stays there.
    """
    names = [field["name"] for field in fields] + ["" for _ in arrays]  # too many are refused by their number
    return check_inputs(fields, [_as_value(name, array) for name, array in zip(names, arrays, strict=False)])


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


def agree(found: Sequence[tuple[str, str, Sequence[Any]]], fields: Fields) -> bool:
    """Whether the inputs of the graph are those of the signature."""
    for (name, kind, (_, *shape)), field in zip(found, fields, strict=False):
        fixed = field["shape"][:1] if field.get("multiple") else field["shape"]
        if (name, kind) != (field["name"], TYPES[field["dtype"]]) or shape[: len(fixed)] != fixed:
            return False
        if len(shape) != len(field["shape"]):
            return False
    return len(found) == len(fields)
