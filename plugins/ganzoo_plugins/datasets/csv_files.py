"""Tables of one's own: the columns of a CSV or Parquet file by name."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo import UserError
from ganzoo.files import read_csv
from ganzoo_plugins.datasets.parquet_files import parquet_file
from ganzoo_runtime.text import counted

__all__ = ["MISSING", "Columns", "number", "read_columns"]

MOST = 2**27
"""Bytes of a CSV file."""

CELLS = 2**28
"""Cells of a Parquet file, which may unpack to far more than its size."""

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""What stands for no value, in small letters."""

_NO_CELLS = ("list", "large_list", "fixed_size_list", "struct", "map", "binary", "large_binary", "fixed_size_binary")


class Columns:
    """The columns of a table of ``rows`` rows; ``names`` are theirs, and each cell is a text, or a number or None.

    ``where`` says in a sentence where a row was found: ``"line 3"``. ``others`` are columns whose cells are no such
    thing, and what they are.
    """

    def __init__(
        self,
        path: Path,
        cells: Mapping[str, Sequence[Any]],
        rows: int,
        lines: Sequence[int] = (),
        others: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self.rows, self.names = path, rows, tuple(cells)
        self._cells, self._lines, self._others = cells, lines, others or {}

    def where(self, row: int) -> str:
        """Return where a row, counted from 0, stands in the file."""
        return f"line {self._lines[row]} of {self.path}" if self._lines else f"row {row + 1} of {self.path}"

    def __getitem__(self, name: str) -> Sequence[Any]:
        """Return the cells of a column; raises UserError if there is none of that name, or it has other things."""
        if name not in self._cells:
            listed = ", ".join(map(repr, self.names[:20])) + (" ..." if len(self.names) > 20 else "")
            raise UserError(f"{self.path} has no column {name!r}; it has {listed}")
        if name in self._others:
            raise UserError(
                f"the column {name!r} of {self.path} has {self._others[name]}, neither numbers nor texts; leave it out"
            )
        return self._cells[name]

    def texts(self, name: str) -> list[str]:
        """Return a column as texts without spaces around; an empty text where the cell is empty."""
        return ["" if cell is None else str(cell).strip() for cell in self[name]]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers [rows], nan where a cell is one of :data:`MISSING`.

        Raises UserError for a cell that is anything else than a finite number, and says where it is.
        """
        found = self[name]
        if isinstance(found, np.ndarray) and found.dtype.kind in "biuf":
            values = found.astype(np.float64)
        else:
            values = np.array([number(cell) for cell in found], np.float64)
        if (wrong := np.isinf(values)).any():
            row = int(wrong.argmax())
            cell = str(found[row]).strip()
            raise UserError(
                f"{self.where(row)}: {name} is {cell[:40]!r}, which is not a number to learn from; correct it or leave "
                "the column out"
            )
        return values


def number(cell: Any) -> float:
    """Return a cell as a number: nan if it is missing, and an infinity if it is none."""
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return float("nan")
    try:
        # "1_000" is a number to Python alone.
        value = float("inf") if isinstance(cell, str) and "_" in cell else float(cell)
    except (TypeError, ValueError, OverflowError):
        return float("inf")
    return value if isfinite(value) else float("inf")


def read_columns(path: Path) -> Columns:
    """Read a .parquet file, and anything else as CSV: UTF-8, separated by commas, the names in the first line.

    Raises UserError for what is no such table, and where a row has not as many cells as there are names.
    """
    return _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)


def _csv(path: Path) -> Columns:
    rows = read_csv(path, MOST, empty=True)
    _, header = next(((line, row) for line, row in rows if row), (1, [""]))
    names = [name.strip() for name in header]
    if len(names) == 1 and (other := [mark for mark in ";\t|" if mark in names[0]]):
        raise UserError(f"{path} is separated by {other[0]!r}; write it with commas between, and points in numbers")
    if "" in names or len(set(names)) < len(names):
        raise UserError(f"the first line of {path} has to name the columns, each by a name of its own")
    if all(isfinite(number(name)) for name in names):
        raise UserError(f"the first line of {path} has to name the columns, and here it has numbers alone")
    lines: list[int] = []
    cells: list[list[str]] = [[] for _ in names]
    empty: list[int] = []
    for line, row in rows:
        if not row:
            empty.append(line)
            continue
        if len(names) == 1:  # an empty line is what an empty cell looks like, but for those at the end
            lines += empty
            cells[0] += [""] * len(empty)
            empty.clear()
        if len(row) != len(names):
            raise UserError(f"line {line} of {path}: it has {counted(len(row), 'column')}, the first line {len(names)}")
        lines.append(line)
        for column, cell in zip(cells, row, strict=True):
            column.append(cell)
    if not lines:
        raise UserError(f"{path} has no rows below its first line")
    return Columns(path, dict(zip(names, cells, strict=True)), len(lines), lines)


def _parquet(path: Path) -> Columns:
    with parquet_file(path) as file:
        if (size := file.metadata.num_rows * file.metadata.num_columns) > CELLS:
            raise UserError(f"{path} has {size:,} cells, more than the limit of {CELLS:,}")
        # What has no text that says what it is would be learned as what Python prints of it.
        kinds = {field.name: str(field.type) for field in file.schema_arrow}
        others = {name: kind for name, kind in kinds.items() if kind.startswith(_NO_CELLS)}
        found = file.read(columns=[name for name in kinds if name not in others])
        rows = file.metadata.num_rows
    if not rows or not kinds:
        raise UserError(f"{path} has no rows")
    cells: dict[str, Sequence[Any]] = dict.fromkeys(kinds, ())
    for name, column in zip(found.column_names, found.columns, strict=True):
        plain = kinds[name].startswith(("float", "double", "int", "uint")) and not column.null_count
        cells[name] = column.to_numpy() if plain else column.to_pylist()
    return Columns(path, cells, rows, others=others)
