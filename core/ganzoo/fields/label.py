"""Class labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.fields.base import Field
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Label"]


@dataclass(frozen=True)
class Label(Field):
    """A class index in ``0 .. classes - 1``, with the classes' names if they have any."""

    classes: int
    names: tuple[str, ...] = ()
    name: str = "y"

    kind: ClassVar[str] = "label"

    @property
    def dtype(self) -> str:
        """``"int64"``."""
        return "int64"

    @property
    def shape(self) -> tuple[int, ...]:
        """``()``."""
        return ()

    def describe(self) -> str:
        """Return ``"a label of 10 classes"``."""
        return f"a label of {counted(self.classes, 'class')}"

    def to_json(self) -> dict[str, Any]:
        """Add the number of classes and their names."""
        return {**super().to_json(), "classes": self.classes, "names": list(self.names)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(int(data["classes"]), tuple(data["names"]), name)

    @property
    def combinations(self) -> int:
        """The number of classes."""
        return self.classes

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the classes in turn."""
        return index % self.classes

    def fault(self, values: NDArray[Any]) -> str:
        """Say that there are other classes."""
        return "" if ((values >= 0) & (values < self.classes)).all() else f"labels outside 0..{self.classes - 1}"
