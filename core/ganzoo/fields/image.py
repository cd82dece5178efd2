"""Images, and the masks of what is missing in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from ganzoo.fields.base import Field

__all__ = ["Image", "Mask"]


@dataclass(frozen=True)
class Image(Field):
    """An image, CHW, with values in ``range``.

    With ``multiple``, a network works for any height and width that are multiples of it; ``height`` and ``width`` are
    then those of its training. With a ``layout`` it is not float32 but pixels, uint8 in 0..255, whose shape is in that
    order: what a file gives that was exported with them.
    """

    channels: int
    height: int
    width: int
    range: tuple[float, float] = (-1.0, 1.0)
    name: str = "x"
    multiple: int | None = None
    layout: Literal["", "NCHW", "NHWC"] = ""

    kind: ClassVar[str] = "image"

    @property
    def dtype(self) -> str:
        """``"float32"``, or ``"uint8"`` with a layout."""
        return "uint8" if self.layout else "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, height, width)``, or ``(height, width, channels)`` with the layout NHWC."""
        size = (self.height, self.width)
        return (*size, self.channels) if self.layout == "NHWC" else (self.channels, *size)

    def describe(self) -> str:
        """Return ``"images, 28 x 28, grey"``."""
        colors = {1: "grey", 3: "RGB", 4: "RGBA"}.get(self.channels, f"{self.channels} channels")
        return f"images, {self.height} x {self.width}, {colors}"

    def to_json(self) -> dict[str, Any]:
        """Add the range, and layout and multiple if there are any."""
        data = {**super().to_json(), "range": list(self.range)}
        if self.layout:
            data["layout"] = self.layout
        return data if self.multiple is None else {**data, "multiple": self.multiple}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        layout, (low, high) = data.get("layout", ""), data["range"]
        height, width, channels = shape if layout == "NHWC" else (*shape[1:], shape[0])
        return cls(channels, height, width, (float(low), float(high)), name, _multiple(data), layout)


@dataclass(frozen=True)
class Mask(Field):
    """Which pixels of an image are missing, 1HW: 1 in the hole, 0 elsewhere. Drawn at random, it is one rectangle.

    ``multiple`` is that of the image.
    """

    height: int
    width: int
    name: str = "mask"
    multiple: int | None = None

    kind: ClassVar[str] = "mask"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(1, height, width)``."""
        return (1, self.height, self.width)

    def describe(self) -> str:
        """Return ``"a mask, 28 x 28"``."""
        return f"a mask, {self.height} x {self.width}"

    def to_json(self) -> dict[str, Any]:
        """Add the multiple if there is one."""
        data = super().to_json()
        return data if self.multiple is None else {**data, "multiple": self.multiple}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        _, height, width = shape
        return cls(height, width, name, _multiple(data))


def _multiple(data: Mapping[str, Any]) -> int | None:
    return int(data["multiple"]) if "multiple" in data else None
