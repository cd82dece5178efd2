"""What a style-based generator takes beside its latent: styles to use in place of those it maps, and how much of them.

The styles that samples are drawn from are ``w + psi * (mapping(z, y) - w)``, for each layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.fields.base import Field
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Styles", "Truncation"]


@dataclass(frozen=True)
class Truncation(Field):
    """For each of the layers, from the coarsest on, the share of the styles that are mapped from the latent.

    1 for the plain sample, less for truncation in W (StyleGAN, arXiv:1812.04948, appendix B), 0 for given styles alone.
    """

    layers: int
    name: str = "psi"

    kind: ClassVar[str] = "truncation"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(layers,)``."""
        return (self.layers,)

    def describe(self) -> str:
        """Return ``"truncation of 8 styles"``."""
        return f"truncation of {counted(self.layers, 'style')}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        (layers,) = shape
        return cls(layers, name)

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return numbers between 0 and 1."""
        return random.random((len(index), self.layers), dtype=np.float32)


@dataclass(frozen=True)
class Styles(Field):
    """A style for each of the layers, from the coarsest on: w of size ``dim``, by default the mean of W."""

    layers: int
    dim: int
    name: str = "w"

    kind: ClassVar[str] = "styles"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(layers, dim)``."""
        return (self.layers, self.dim)

    def describe(self) -> str:
        """Return ``"8 styles of 128 numbers"``."""
        return f"{counted(self.layers, 'style')} of {counted(self.dim, 'number')}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        layers, dim = shape
        return cls(layers, dim, name)
