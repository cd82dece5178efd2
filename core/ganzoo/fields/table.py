"""Rows of a table: numbers and categories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.errors import UserError
from ganzoo.fields import drawing
from ganzoo.fields.base import Field, outside
from ganzoo_runtime.tables import column_size
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Column", "Table"]


@dataclass(frozen=True)
class Column:
    """A column of a table: numbers in ``range``, or one of the ``categories``.

    Numbers may have ``modes``, a weight, a mean and a standard deviation each: the mixture of Gaussians that they are
    normalized by. ``decimals`` is what they are rounded to, 0 for whole numbers; with ``missing``, which takes modes,
    some are missing (NaN). ``shares`` say how often each category is in the data: numbers in proportion to it.
    """

    name: str
    range: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    modes: tuple[tuple[float, float, float], ...] = ()
    decimals: int | None = None
    missing: bool = False
    shares: tuple[float, ...] = ()

    @classmethod
    def of(cls, column: Column | Mapping[str, Any]) -> Self | Column:
        """Return the column that :meth:`to_json` wrote; a column as it is."""
        if isinstance(column, Column):
            return column
        low, high = column.get("range", (0, 0))
        return cls(
            column["name"],
            (float(low), float(high)) if "range" in column else None,
            tuple(column.get("categories", ())),
            tuple((float(weight), float(mean), float(width)) for weight, mean, width in column.get("modes", ())),
            column.get("decimals"),
            bool(column.get("missing", False)),
            tuple(map(float, column.get("shares", ()))),
        )

    @property
    def size(self) -> int:
        """How many numbers encode a value: 1, with modes as many more; or one for each category."""
        return column_size(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the column as plain data."""
        known: dict[str, Any] = {"name": self.name}
        if self.range is not None:
            known["range"] = list(self.range)
        if self.decimals is not None:
            known["decimals"] = self.decimals
        if self.missing:
            known["missing"] = True
        if self.modes:
            known["modes"] = [list(mode) for mode in self.modes]
        for name in ("categories", "shares"):
            if values := getattr(self, name):
                known[name] = list(values)
        return known


@dataclass(frozen=True)
class Table(Field):
    """A row of a table, encoded as float32 [D]: its columns one after another.

    A number is scaled from its column's range to -1..1; a category is one number for each of the column's, one-hot in
    the data, and the largest of generated ones names it. A number of a column with modes is normalized by one of them
    (CTGAN, arXiv:1907.00503, section 4.2): how far it is from the mode's mean, in 4 standard deviations, and behind
    that, like a category, which mode it was, a missing value being the last one. Data sets and networks have the same
    encoding; :meth:`encoded` makes it of columns and :meth:`stored` makes columns of it. A column may be given as a
    mapping, as settings have it.
    """

    columns: tuple[Column, ...]
    name: str = "x"

    kind: ClassVar[str] = "table"
    shown: ClassVar[int] = 10_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(Column.of(column) for column in self.columns))
        super().__post_init__()

    @property
    def shape(self) -> tuple[int, ...]:
        """``(D,)``: a number for each column with a range, and one for each of its modes and of all categories."""
        return (sum(column.size for column in self.columns),)

    def parts(self) -> Iterator[tuple[Column, slice]]:
        """Yield every column, and where it is encoded."""
        start = 0
        for column in self.columns:
            yield column, slice(start, start + column.size)
            start += column.size

    def blocks(self) -> Iterator[tuple[slice, bool]]:
        """Yield where numbers in -1..1 are, and, with True, where of several the largest names a category or a mode."""
        for column, part in self.parts():
            if column.range is not None:
                yield slice(part.start, part.start + 1), False
            if column.size > 1 or column.range is None:
                yield slice(part.start + (column.range is not None), part.stop), True

    def describe(self) -> str:
        """Return ``"rows of 3 columns"``."""
        return f"rows of {counted(len(self.columns), 'column')}"

    def to_json(self) -> dict[str, Any]:
        """Add the columns: their names, and their range or their categories."""
        return {**super().to_json(), "columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(tuple(Column.of(column) for column in data["columns"]), name)

    def encoded(self, columns: Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        """Return rows, float32 [N, D], for values [N] by column: numbers, or the names of categories.

        A missing number is NaN. Of several modes that a number may be of, one is drawn, the same each time. Raises
        :class:`~ganzoo.UserError` for a column that is missing and for values that it cannot have.
        """
        random = np.random.Generator(np.random.Philox(0))
        parts: list[NDArray[np.float32]] = []
        for column, _ in self.parts():
            if column.name not in columns:
                raise UserError(f"there is no column {column.name!r}; there is: {', '.join(columns)}")
            values = np.asarray(columns[column.name])
            if values.ndim != 1 or (parts and len(values) != len(parts[0])):
                raise UserError(f"the column {column.name!r} is {list(values.shape)}; each is [N], with the same N")
            if column.range is None:
                one_hot = values.astype(str)[:, None] == np.array(column.categories)
                if not one_hot.any(1).all():
                    other = values[~one_hot.any(1)][0]
                    raise UserError(f"the column {column.name!r} has no category {str(other)!r}")
                parts.append(one_hot.astype(np.float32))
                continue
            low, high = column.range
            try:
                numbers = values.astype(np.float64)
            except (TypeError, ValueError):
                raise UserError(f"the column {column.name!r} has values that are no numbers") from None
            if not ((numbers >= low) & (numbers <= high) | (np.isnan(numbers) & column.missing)).all():
                raise UserError(f"the column {column.name!r} has numbers outside of {low:g}..{high:g}")
            if column.modes:
                parts.append(_normalized(numbers, column, random))
            else:
                parts.append(((numbers - low) / (high - low) * 2 - 1).astype(np.float32)[:, None])
        return np.concatenate(parts, axis=1)

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return rows of random numbers and categories."""
        rows = np.zeros((len(index), *self.shape), np.float32)
        for part, choice in self.blocks():
            if choice:
                size = part.stop - part.start
                rows[:, part] = np.eye(size, dtype=np.float32)[random.integers(size, size=len(index))]
            else:
                rows[:, part] = random.uniform(-1, 1, (len(index), 1))
        return rows

    def fault(self, values: NDArray[Any]) -> str:
        """Say that numbers are outside of -1..1, which :meth:`encoded` scales them to."""
        for column, part in self.parts():
            if column.range is not None and (found := outside(values[:, part.start], (-1, 1))):
                return f"in the column {column.name!r} {found}"
        return ""

    def packed(self, count: int) -> Table:
        """Repeat the columns, under names with a number."""
        numbers = range(count)
        return replace(
            self, columns=tuple(replace(each, name=f"{each.name}_{i}") for i in numbers for each in self.columns)
        )

    def picture(
        self, samples: NDArray[Any], real: NDArray[Any] | None = None, columns: int | None = None
    ) -> NDArray[np.uint8]:
        """Draw a panel for each column: the histogram of its numbers, or the shares of its categories."""
        series = [("data", self.stored(real))] if real is not None else []
        series.append(("samples", self.stored(samples)))
        shown = self.columns[:_PANELS]
        panels = {each.name: [(label, _present(rows[each.name])) for label, rows in series] for each in shown}
        steps = {each.name: 10.0**-each.decimals for each in shown if each.decimals is not None}
        return drawing.histograms(panels, {each.name: each.categories for each in shown}, steps)


_PANELS = 16


def _present(values: NDArray[Any]) -> NDArray[Any]:
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def _normalized(numbers: NDArray[np.float64], column: Column, random: np.random.Generator) -> NDArray[np.float32]:
    """Return numbers [N], NaN where they are missing, as the distance from a mode's mean and which mode it is."""
    weight, mean, deviation = np.array(column.modes).T
    distance = (np.nan_to_num(numbers)[:, None] - mean) / deviation
    chance = np.log(weight / deviation) - distance**2 / 2
    # Beyond 4 standard deviations a mode cannot say the number; where none can, it is clipped to the nearest one.
    chance = np.where(np.abs(distance) <= 4, chance, -1e9 * np.abs(distance))
    # The mode is drawn by its probability given the number; the largest after Gumbel noise is such a draw.
    mode = (chance + random.gumbel(size=chance.shape)).argmax(axis=1)
    rows = np.zeros((len(numbers), column.size), np.float32)
    rows[:, 0] = (distance[np.arange(len(mode)), mode] / 4).clip(-1, 1)
    rows[np.arange(len(mode)), 1 + mode] = 1
    rows[np.isnan(numbers)] = np.eye(column.size, dtype=np.float32)[-1]
    return rows
