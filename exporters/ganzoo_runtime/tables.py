"""Tables: rules of their columns, and rows as they were; one copy for networks in torch and for files."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rules import need, numbers, value_range
from .text import NAME, fits

__all__ = ["check_table", "column_size", "structured", "table_rows"]

Document = Mapping[str, Any]
Array = NDArray[Any]


def check_table(field: Document) -> None:
    """Raise :class:`ModelError` for what is wrong with a table's columns."""
    name, columns = field["name"], field.get("columns")
    right = isinstance(columns, list) and columns and all(isinstance(column, dict) for column in columns)
    need(bool(right), f"{name!r} has no columns")
    assert isinstance(columns, list)
    for column in columns:
        called = column.get("name")
        need(isinstance(called, str) and called != "" and fits(called), f"a column of {name!r} has no name: {NAME}")
        need(("range" in column) != ("categories" in column), f"the column {called!r} needs a range or categories")
        (_number_column if "range" in column else _category_column)(column)
    need(len({column["name"] for column in columns}) == len(columns), f"two columns of {name!r} have one name")
    size = sum(column_size(column) for column in columns)
    need(field["shape"] == [size], f"the shape of {name!r} is not that of its columns")


def _category_column(column: Document) -> None:
    called, categories, shares = column["name"], column["categories"], column.get("shares", [1])
    right = isinstance(categories, list) and categories and all(isinstance(each, str) for each in categories)
    need(bool(right), f"the column {called!r} has no categories")
    need(len({*categories}) == len(categories), f"two categories of the column {called!r} have one name")
    for each in categories:
        need(fits(each), f"{each!r} cannot be the name of a category: {NAME}; rename it")
    numbers(shares, len(categories) if "shares" in column else 1, f"shares of the column {called!r}")
    right = min(shares) >= 0 and sum(shares) > 0
    need(right, f"the shares of the column {called!r} are none of a whole")


def _number_column(column: Document) -> None:
    called, modes, decimals = column["name"], column.get("modes"), column.get("decimals", 0)
    value_range(column, f"the column {called!r}")
    right = type(decimals) is int and 0 <= decimals <= 15
    need(right, f"the column {called!r} is rounded to 0 to 15 decimals")
    right = column.get("missing", False) in ((False, True) if modes else (False,))
    need(right, f"the column {called!r} cannot tell missing values")
    need(modes is None or (isinstance(modes, list) and modes != []), f"the column {called!r} has no modes")
    for mode in modes or ():
        numbers(mode, 3, f"a mode of the column {called!r}")
        need(mode[0] > 0 and mode[2] > 0, f"a mode of the column {called!r} has no weight or no width")


def column_size(column: Document) -> int:
    """Return how many numbers encode a value of a table's column."""
    modes = column.get("modes", ())
    return len(column.get("categories", ())) or 1 + len(modes) + bool(column.get("missing"))


def table_rows(samples: Array, field: Document) -> Array:
    """Return the columns by name: numbers in their range, rounded, NaN where they are missing; categories as texts."""
    sizes = [column_size(column) for column in field["columns"]]
    columns = {}
    for column, stop, size in zip(field["columns"], accumulate(sizes), sizes, strict=True):
        values = samples[:, stop - size : stop]
        if "categories" in column:
            columns[column["name"]] = np.array(column["categories"])[values.argmax(axis=1)]
        else:
            columns[column["name"]] = _stored_numbers(values, column)
    return structured(columns)


def _stored_numbers(values: Array, column: Document) -> Array:
    (low, high), modes = column["range"], column.get("modes")
    unit = values[:, 0].clip(-1, 1).astype(np.float64)
    found: Array
    if not modes:
        found = low + (unit + 1) / 2 * (high - low)
        if "decimals" not in column:
            return found.astype(np.float32)
    else:
        # CTGAN's mode-specific normalization (arXiv:1907.00503, section 4.2): the largest of the other numbers names
        # the mode, and the first one is the distance from its mean in 4 of its standard deviations.
        mode = values[:, 1:].argmax(axis=1)
        _, mean, deviation = np.array([*modes, (1, np.nan, 1)]).T  # behind the modes stands the missing value
        found = (mean[mode] + 4 * deviation[mode] * unit).clip(low, high)
    if "decimals" in column:
        found = found.round(column["decimals"])
        if _whole_numbers(column):
            return found.astype(np.int64)
    return found


def _whole_numbers(column: Document) -> bool:
    """Return whether a table's column is stored as int64: whole numbers, none missing, that float64 tells apart."""
    small = "range" in column and max(map(abs, column["range"])) <= 2**53
    return small and column.get("decimals") == 0 and not column.get("missing")


def structured(columns: Mapping[str, Array]) -> Array:
    """Return columns [N, ...] of one length as a structured array [N]."""
    parts = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
    joined = np.empty(len(next(iter(columns.values()))), parts)
    for name, values in columns.items():
        joined[name] = values
    return joined
