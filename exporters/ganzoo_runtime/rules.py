"""Rules of what a file says about its fields, which may come from anyone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ModelError

__all__ = ["need", "numbers", "pair", "value_range"]


def need(condition: bool, reason: str) -> None:
    """Raise :class:`ModelError` for this reason unless the condition holds."""
    if not condition:
        raise ModelError(reason)


def pair(values: Any, what: str) -> tuple[float, float]:
    """Return two numbers; raises :class:`ModelError` if ``values`` is not a list of them."""
    numbers(values, 2, what)
    return float(values[0]), float(values[1])


def numbers(values: Any, count: int, what: str) -> None:
    """Raise :class:`ModelError` unless ``values`` is a list of so many numbers that float32 can hold."""
    need(isinstance(values, list) and len(values) == count, f"{what} is no list of {count} numbers")
    right = all(isinstance(each, int | float) and not isinstance(each, bool) and abs(each) <= 3.4e38 for each in values)
    need(right, f"{what} has what is no number that float32 can hold")


def value_range(field: Mapping[str, Any], what: str) -> tuple[float, float]:
    """Return the ``range`` of a field or a column, a lower and a higher number; raises :class:`ModelError`."""
    low, high = pair(field.get("range"), f"the range of {what}")
    need(low < high, f"the range of {what} does not run from a lower to a higher number")
    return low, high
