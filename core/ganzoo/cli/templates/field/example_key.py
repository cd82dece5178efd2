"""A kind of field: shares of a whole, such as the mixture of a soil or votes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ganzoo import Field


@dataclass(frozen=True)
class ExampleKey(Field):
    """Shares of ``parts`` parts, float32 [parts], each in 0..1 and 1 together.

    A data set has it in its spec, ``DataSpec(name, (ExampleKey(4),), size)``, and a generator in its signature.
    """

    parts: int
    name: str = "x"

    kind: ClassVar[str] = "example_key"  # what files call it: the key of the spec

    @property
    def shape(self) -> tuple[int, ...]:
        """``(parts,)``."""
        return (self.parts,)

    def describe(self) -> str:
        """Return ``"shares of 4 parts"``."""
        return f"shares of {self.parts} parts"

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what ``to_json`` wrote: name, dtype and shape; a kind that knows more adds it there, and reads it."""
        (parts,) = shape
        return cls(parts, name)

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return shares for checks, [N, parts] for samples of these numbers."""
        return random.dirichlet(np.ones(self.parts), len(index)).astype(np.float32)

    def fault(self, values: NDArray[Any]) -> str:
        """Return what values [N, parts] have that shares do not; empty if they are right."""
        if values.min() < 0:
            return f"a share of {values.min():.3g}"
        total = values.sum(axis=1)
        wrong = total[np.abs(total - 1).argmax()]
        return f"shares of {wrong:.3g} together" if abs(wrong - 1) > 1e-3 else ""

    def span(self, values: NDArray[Any]) -> float:
        """Return 1, which differences of shares are relative to."""
        return 1.0
