"""Vectors that describe a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.fields.base import Field
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        return counted(self.dim, "attribute")

    def to_json(self) -> dict[str, Any]:
        """Add the attributes' names and the examples."""
        return {**super().to_json(), "names": list(self.names), "examples": [list(row) for row in self.examples]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        (dim,) = shape
        examples = tuple(tuple(float(value) for value in row) for row in data["examples"])
        return cls(dim, tuple(data["names"]), examples, name)

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the examples in turn; random numbers if there are none."""
        if not self.examples:
            return super().example(random, index)
        return np.array(self.examples, np.float32)[index % len(self.examples)]
