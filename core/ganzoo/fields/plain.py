"""What is known of a field of a kind that is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ganzoo.fields.base import Field

__all__ = ["Plain"]


@dataclass(frozen=True)
class Plain(Field):
    """An array of which a file says no more than here is understood: the plugin that offers its kind is missing.

    So a file that was exported with such a plugin is sampled and evaluated without it, as it is in the runtime.
    """

    kind: str  # type: ignore[misc]  # of any name, where that of others is their class's
    shape: tuple[int, ...]
    numbers: str = "float32"
    name: str = "x"

    @property
    def dtype(self) -> str:
        """What the file says."""
        return self.numbers

    def describe(self) -> str:
        """Return ``"cloud, 64 x 3"``."""
        return f"{self.kind}, {' x '.join(map(str, self.shape)) or 'one number'}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what any field's ``to_json`` wrote."""
        return cls(data["kind"], shape, data["dtype"], name)
