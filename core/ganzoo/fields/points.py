"""Points of the plane, and of spaces of more dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ganzoo.fields.base import Field

__all__ = ["Points"]


@dataclass(frozen=True)
class Points(Field):
    """A point in the ``dim``-dimensional plane; values are unbounded."""

    dim: int
    name: str = "x"

    kind: ClassVar[str] = "points"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(dim,)``."""
        return (self.dim,)

    def describe(self) -> str:
        """Return ``"points of 2 coordinates"``."""
        return f"points of {self.dim} coordinates"

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        (dim,) = shape
        return cls(dim, name)
