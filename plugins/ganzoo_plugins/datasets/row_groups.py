"""Rows of Parquet files that are read where they lie, by row groups, of which few are in memory at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganzoo import UserError
from ganzoo.files import without_secrets
from ganzoo_plugins.datasets.parquet_files import class_names, parquet_file, same_classes
from ganzoo_plugins.datasets.stored import UnreachableError, attempted

__all__ = ["RowGroups"]

_LARGEST = 2**30  # bytes of a row group's images, which are read as a whole


class RowGroups:
    """A column of Parquet files, on disk or behind URLs, of which any row is found: a row group is read for it.

    A row group is the least that is read of a file: as a rule some hundred rows, or up to 100 MB. :meth:`order` is
    random and reads each once: those that hold the next ``window`` rows of it stay in memory, twice as many at most.
    ``labels`` are the values of a second column in all rows, if one is named, and ``sizes`` the bytes of each row group
    in memory, int64 [G]. Raises :class:`~ganzoo.UserError` for files that are not Parquet or have no such columns, and
    where two of them name the classes differently.
    """

    def __init__(self, files: Sequence[str], column: str, label: str | None, window: int) -> None:
        self.files, self.column, self.window = tuple(files), column, window
        footers = list[_Footer]()
        for found in attempted(lambda number: _footer(self.files[number], column, label), range(len(files))):
            if isinstance(found, Exception):
                raise found
            footers.append(found)
        if label is not None:
            same_classes(self.files, [footer.classes for footer in footers], label)
        each = [len(footer.counts) for footer in footers]
        self._file = np.repeat(np.arange(len(footers)), each)
        self._group = np.concatenate([np.arange(count) for count in each])
        self._counts = np.concatenate([footer.counts for footer in footers])
        self._ends = self._counts.cumsum()
        self.sizes = np.concatenate([footer.sizes for footer in footers])
        self.labels = [value for footer in footers for value in footer.labels]
        self._empty()

    def _empty(self) -> None:
        self._held = OrderedDict[int, Any]()  # in the order of their last use
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_held", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._empty()

    def __len__(self) -> int:
        return int(self._counts.sum())

    def __getitem__(self, row: int) -> Any:
        """Return the value of a row; raises :class:`UnreachableError` if it cannot be read now."""
        with self._lock:
            number = self._number(row)
            if number not in self._held:
                self._make_room()
                self._held[number] = self._read(number)
            self._held.move_to_end(number)
            values = self._held[number]
        return values[row - int(self._ends[number] - self._counts[number])].as_py()

    def file_of(self, row: int) -> str:
        """Return the file that a row is in, as sentences call it."""
        return without_secrets(self.files[self._file[self._number(row)]])

    def _number(self, row: int) -> int:
        """Return the number of the row group that a row is in."""
        return int(self._ends.searchsorted(row, side="right"))

    def _make_room(self) -> None:
        held = sum(int(self._counts[number]) for number in self._held)
        for number in list(self._held):
            held -= int(self._counts[number])
            if held < 2 * self.window:
                return
            del self._held[number]

    def _read(self, number: int) -> Any:
        place, group = self.files[self._file[number]], int(self._group[number])
        try:
            with parquet_file(place) as file:
                if _bytes(file.metadata.row_group(group), self.column) != self.sizes[number]:
                    raise UserError(f"{without_secrets(place)} has changed since it was opened")
                values = file.read_row_group(group, columns=[self.column], use_threads=False)[self.column]
        except UserError as error:
            raise UnreachableError(f"{error} (row group {group})") from None
        if len(values) != self._counts[number]:
            raise UnreachableError(f"{without_secrets(place)} has changed since it was opened")
        return values

    def order(self, rng: torch.Generator) -> Tensor:
        """Return all rows in a random order, int64 [N]: row groups are shuffled, and then rows over a ``window``."""
        counts, ends = torch.from_numpy(self._counts), torch.from_numpy(self._ends)
        groups = torch.randperm(len(counts), generator=rng)
        counts, starts = counts[groups], (ends - counts)[groups]
        places = torch.arange(len(self))
        rows = (starts - counts.cumsum(0) + counts).repeat_interleave(counts) + places
        # Each row may come up to a window later: whatever is read next is needed within a window, and no later.
        later = torch.rand(len(self), generator=rng, dtype=torch.float64) * self.window
        return rows[(places + later).argsort(stable=True)]


class _Footer(NamedTuple):
    """What is known of a file without its images: rows and bytes of the row groups, all labels, and classes' names."""

    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: list[Any]
    classes: list[str] | None


def _footer(place: str, column: str, label: str | None) -> _Footer:
    called = without_secrets(place)
    with parquet_file(place) as file:
        about, names = file.metadata, file.schema_arrow.names
        for name in (column, label):
            if name is not None and name not in names:
                raise UserError(f"{called} has the columns {', '.join(names)}, and not {name} as the others have")
        kind = file.schema_arrow.field(column).type
        if not _holds_images(kind):
            raise UserError(f"{called} has no images in the column {column}, but {kind}")
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        counts = np.array([group.num_rows for group in groups], np.int64)
        sizes = np.array([_bytes(group, column) for group in groups], np.int64)
        if (counts < 0).any() or (sizes < counts).any():  # an image has a byte at least
            raise UserError(f"{called} is damaged: its row groups have more rows than bytes")
        if (sizes > _LARGEST).any():
            raise UserError(
                f"{called} has row groups of up to {int(sizes.max()):,} bytes, and each is read as a whole; write it "
                "anew with smaller ones, as to_parquet of the library datasets does by itself, or leave out "
                "data.streaming"
            )
        labels = [] if label is None else file.read(columns=[label], use_threads=False)[label].to_pylist()
        classes = None if label is None else class_names(file.schema_arrow, label)
    return _Footer(counts, sizes, labels, classes)


def _holds_images(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _bytes(group: Any, column: str) -> int:
    parts = (group.column(number) for number in range(group.num_columns))
    return sum(part.total_uncompressed_size for part in parts if part.path_in_schema.partition(".")[0] == column)
