"""Series of numbers: signals, curves, sounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.fields import drawing
from ganzoo.fields.base import Field, outside
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sequence"]


@dataclass(frozen=True)
class Sequence(Field):
    """Channels over time, float32 [channels, length] with values in ``range``; ``names`` are those of the channels.

    A data set holds them in that range, and networks see and return them so. ``units`` are what the ends of the range
    stand for, (low, high) for each channel: files and pictures show such numbers, and :meth:`stored` gives the channels
    in them by name, ``channel_0`` ... where they have none.
    """

    channels: int
    length: int
    range: tuple[float, float] = (-1.0, 1.0)
    names: tuple[str, ...] = ()
    name: str = "x"
    units: tuple[tuple[float, float], ...] = ()

    kind: ClassVar[str] = "sequence"
    shown: ClassVar[int] = 16
    rows: ClassVar[int] = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, length)``."""
        return (self.channels, self.length)

    def describe(self) -> str:
        """Return ``"sequences of 2 channels and 128 steps"``."""
        return f"sequences of {counted(self.channels, 'channel')} and {counted(self.length, 'step')}"

    def to_json(self) -> dict[str, Any]:
        """Add the range, the channels' names, and their units if they have any."""
        data = {**super().to_json(), "range": list(self.range), "names": list(self.names)}
        return data | ({"units": [list(each) for each in self.units]} if self.units else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        (channels, length), (low, high) = shape, data["range"]
        units = tuple((float(least), float(most)) for least, most in data.get("units", ()))
        return cls(channels, length, (float(low), float(high)), tuple(data["names"]), name, units)

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
        return replace(self, channels=count * self.channels, names=(), units=count * self.units)

    def picture(
        self, samples: NDArray[Any], real: NDArray[Any] | None = None, columns: int | None = None
    ) -> NDArray[np.uint8]:
        """Draw a panel for each sample, a line for each channel, beside as many rows of panels of real ones."""
        return drawing.lines(samples, columns, self.range, self.names, real, self.units)
