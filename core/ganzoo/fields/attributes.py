"""Vectors that describe a sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Self

from ganzoo.errors import UserError
from ganzoo.fields.base import Field
from ganzoo.fields.checks import check_names, check_shape

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

    def __post_init__(self) -> None:
        check_shape(self.shape)
        if self.names and len(self.names) != self.dim:
            raise UserError(f"{len(self.names)} names for {self.dim} attributes")
        check_names(self.names, "an attribute")
        if any(len(row) != self.dim or not all(map(isfinite, row)) for row in self.examples):
            raise UserError(f"an example of these attributes has {self.dim} finite numbers")

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
