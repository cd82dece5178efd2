"""A kind of field: point clouds, [N, 3] in a cube, drawn as seen from the front."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ganzoo import Field, grid


@dataclass(frozen=True)
class Cloud(Field):
    """So many points (x, y, z) in -1..1, float32 [points, 3]."""

    points: int
    name: str = "x"

    kind: ClassVar[str] = "cloud"  # the key of its spec: so files call it
    shown: ClassVar[int] = 16

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.points, 3)

    def describe(self) -> str:
        return f"clouds of {self.points} points"

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "axes": ["x", "y", "z"]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        return cls(shape[0], name)

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        return random.uniform(-1, 1, (len(index), *self.shape)).astype(np.float32)

    def fault(self, values: NDArray[Any]) -> str:
        return "" if np.abs(values).max() <= 1.0001 else "points outside of the cube"

    def packed(self, count: int) -> "Cloud":
        return replace(self, points=count * self.points)

    def picture(
        self, samples: NDArray[Any], real: NDArray[Any] | None = None, columns: int | None = None
    ) -> NDArray[np.uint8]:
        tiles = np.full((len(samples), 64, 64, 1), 255, np.uint8)
        across, down = ((samples[..., axis].clip(-1, 1) + 1) * 31.5 for axis in (0, 1))
        tiles[np.arange(len(samples))[:, None], 63 - down.astype(int), across.astype(int)] = 0
        return grid(tiles, columns)

    def stored(self, samples: NDArray[Any]) -> NDArray[Any]:
        if samples.dtype.names:
            return samples
        columns = np.empty(len(samples), [(axis, np.float32, (self.points,)) for axis in "xyz"])
        for number, axis in enumerate("xyz"):
            columns[axis] = samples[..., number]
        return columns
