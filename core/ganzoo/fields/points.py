"""Points of the plane, and of spaces of more dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.fields import drawing
from ganzoo.fields.base import Field
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Points"]


@dataclass(frozen=True)
class Points(Field):
    """A point in the ``dim``-dimensional plane; values are unbounded."""

    dim: int
    name: str = "x"

    kind: ClassVar[str] = "points"
    shown: ClassVar[int] = 10_000

    @property
    def shape(self) -> tuple[int, ...]:
        """``(dim,)``."""
        return (self.dim,)

    def describe(self) -> str:
        """Return ``"points of 2 coordinates"``."""
        return f"points of {counted(self.dim, 'coordinate')}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        (dim,) = shape
        return cls(dim, name)

    def packed(self, count: int) -> Points:
        """Join the coordinates."""
        return replace(self, dim=count * self.dim)

    def picture(
        self, samples: NDArray[Any], real: NDArray[Any] | None = None, columns: int | None = None
    ) -> NDArray[np.uint8]:
        """Draw the density of the first two coordinates, beside that of real points."""
        return drawing.density(samples, real)
