"""Random codes, which generators start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from ganzoo.fields.base import Field
from ganzoo_runtime.fields import noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Latent"]


@dataclass(frozen=True)
class Latent(Field):
    """A random code: ``"normal"`` is N(0, 1), ``"uniform"`` is U(-1, 1), each element independent.

    ``truncation`` is what a truncation t does with it: ``"scaled"`` multiplies its distance from its mean by t, and
    ``"resampled"``, of normal codes alone, draws numbers beyond -t .. t again (arXiv:1809.11096).
    """

    shape: tuple[int, ...]
    distribution: Literal["normal", "uniform"] = "normal"
    name: str = "z"
    truncation: Literal["scaled", "resampled"] = "scaled"

    kind: ClassVar[str] = "latent"

    def describe(self) -> str:
        """Return ``"a latent of 128 numbers, normal"``."""
        return f"a latent of {' x '.join(map(str, self.shape))} numbers, {self.distribution}"

    def to_json(self) -> dict[str, Any]:
        """Add the distribution, and the truncation where it is another one than that of files that have none."""
        truncation = {} if self.truncation == "scaled" else {"truncation": self.truncation}
        return {**super().to_json(), "distribution": self.distribution, **truncation}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(shape, data["distribution"], name, data.get("truncation", "scaled"))

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return numbers of the distribution."""
        return noise(random, self.to_json(), len(index))
