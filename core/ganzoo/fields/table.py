"""Rows of a table: numbers and categories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.errors import UserError
from ganzoo.fields import drawing
from ganzoo.fields.base import Field, outside

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Column", "Table"]


@dataclass(frozen=True)
class Column:
    """A column of a table: numbers in ``range``, or one of the ``categories``."""

    name: str
    range: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()

    @classmethod
    def of(cls, column: Column | Mapping[str, Any]) -> Self | Column:
        """Return the column that :meth:`to_json` wrote; a column as it is."""
        if isinstance(column, Column):
            return column
        low, high = column.get("range", (0, 0))
        known = (float(low), float(high)) if "range" in column else None
        return cls(column["name"], known, tuple(column.get("categories", ())))

    @property
    def size(self) -> int:
        """How many numbers encode a value: 1, or one for each category."""
        return len(self.categories) or 1

    def to_json(self) -> dict[str, Any]:
        """Return the column as plain data."""
        known: dict[str, Any] = {"name": self.name}
        if self.range is not None:
            known["range"] = list(self.range)
        return known | ({"categories": list(self.categories)} if self.categories else {})


@dataclass(frozen=True)
class Table(Field):
    """A row of a table, encoded as float32 [D]: its columns one after another.

    A number is scaled from its column's range to -1..1; a category is one number for each of the column's, one-hot in
    the data, and the largest of generated ones names it. Data sets and networks have the same encoding;
    :meth:`encoded` makes it of columns and :meth:`stored` makes columns of it. A column may be given as a mapping, as
    settings have it.
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
        """``(D,)``: a number for each column with a range, and one for each category of the others."""
        return (sum(column.size for column in self.columns),)

    def parts(self) -> Iterator[tuple[Column, slice]]:
        """Yield every column, and where it is encoded."""
        start = 0
        for column in self.columns:
            yield column, slice(start, start + column.size)
            start += column.size

    def describe(self) -> str:
        """Return ``"rows of 3 columns"``."""
        return f"rows of {len(self.columns)} column{'s' * (len(self.columns) > 1)}"

    def to_json(self) -> dict[str, Any]:
        """Add the columns: their names, and their range or their categories."""
        return {**super().to_json(), "columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(tuple(Column.of(column) for column in data["columns"]), name)

    def encoded(self, columns: Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        """Return rows, float32 [N, D], for values [N] by column: numbers, or the names of categories.

        Raises :class:`~ganzoo.UserError` for a column that is missing and for values that it cannot have.
        """
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
            if not ((numbers >= low) & (numbers <= high)).all():
                raise UserError(f"the column {column.name!r} has numbers outside of {low:g}..{high:g}")
            parts.append(((numbers - low) / (high - low) * 2 - 1).astype(np.float32)[:, None])
        return np.concatenate(parts, axis=1)

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return rows of random numbers and categories."""
        rows = np.zeros((len(index), *self.shape), np.float32)
        for column, part in self.parts():
            if column.range is None:
                rows[:, part] = np.eye(column.size, dtype=np.float32)[random.integers(column.size, size=len(index))]
            else:
                rows[:, part] = random.uniform(-1, 1, (len(index), 1))
        return rows

    def fault(self, values: NDArray[Any]) -> str:
        """Say that numbers are outside of -1..1, which :meth:`encoded` scales them to."""
        for column, part in self.parts():
            if column.range is not None and (found := outside(values[:, part], (-1, 1))):
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
        panels = {each.name: [(label, rows[each.name]) for label, rows in series] for each in shown}
        return drawing.histograms(panels, {each.name: each.categories for each in shown})


_PANELS = 16
