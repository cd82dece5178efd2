"""Series of numbers: signals, curves, sounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.fields import drawing
from ganzoo.fields.base import Field, outside

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sequence"]


@dataclass(frozen=True)
class Sequence(Field):
    """Channels over time, float32 [channels, length] with values in ``range``; ``names`` are those of the channels.

    A data set holds them in that range, and networks see and return them so.
    """

    channels: int
    length: int
    range: tuple[float, float] = (-1.0, 1.0)
    names: tuple[str, ...] = ()
    name: str = "x"

    kind: ClassVar[str] = "sequence"
    shown: ClassVar[int] = 16
    rows: ClassVar[int] = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, length)``."""
        return (self.channels, self.length)

    def describe(self) -> str:
        """Return ``"sequences of 2 channels and 128 steps"``."""
        return f"sequences of {self.channels} channel{'s' * (self.channels > 1)} and {self.length} steps"

    def to_json(self) -> dict[str, Any]:
        """Add the range and the channels' names."""
        return {**super().to_json(), "range": list(self.range), "names": list(self.names)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        (channels, length), (low, high) = shape, data["range"]
        return cls(channels, length, (float(low), float(high)), tuple(data["names"]), name)

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return numbers of the range, each by itself."""
        return random.uniform(*self.range, (len(index), *self.shape)).astype(np.float32)

    def fault(self, values: NDArray[Any]) -> str:
        """Say that values are outside of the range."""
        return outside(values, self.range)

    def span(self, values: NDArray[Any]) -> float:
        """Return the length of the range."""
        return self.range[1] - self.range[0]

    def packed(self, count: int) -> Sequence:
        """Join the channels."""
        return replace(self, channels=count * self.channels, names=())

    def picture(
        self, samples: NDArray[Any], real: NDArray[Any] | None = None, columns: int | None = None
    ) -> NDArray[np.uint8]:
        """Draw a panel for each sample, a line for each channel."""
        return drawing.lines(samples, columns, self.range, self.names)
