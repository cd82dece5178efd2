"""Vectors that describe a sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ganzoo.fields.base import Field

__all__ = ["Attributes"]


@dataclass(frozen=True)
class Attributes(Field):
    """A real vector that describes a sample: several attributes at once.

    ``examples`` are a few vectors as the data has them, [dim] each; samples are drawn for them where none is asked for.
    """

    dim: int
    names: tuple[str, ...] = ()
    examples: tuple[tuple[float, ...], ...] = ()
    name: str = "y"

    kind: ClassVar[str] = "attributes"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(dim,)``."""
        return (self.dim,)

    def describe(self) -> str:
        """Return ``"40 attributes"``."""
        return f"{self.dim} attributes"

    def to_json(self) -> dict[str, Any]:
        """Add the attributes' names and the examples."""
        return {**super().to_json(), "names": list(self.names), "examples": [list(row) for row in self.examples]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        (dim,) = shape
        examples = tuple(tuple(float(value) for value in row) for row in data["examples"])
        return cls(dim, tuple(data["names"]), examples, name)
