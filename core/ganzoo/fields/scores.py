"""What discriminators return."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ganzoo.fields.base import Field

__all__ = ["Scores"]


@dataclass(frozen=True)
class Scores(Field):
    """A discriminator's raw scores (logits), one or a map of them a sample: no sigmoid inside."""

    shape: tuple[int, ...] = ()
    name: str = "score"

    kind: ClassVar[str] = "scores"

    def describe(self) -> str:
        """Return ``"scores"``."""
        return "scores"

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(shape, name)
