"""Images, and the masks of what is missing in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from ganzoo.fields import drawing
from ganzoo.fields.base import Field, outside
from ganzoo_runtime.fields import kind_of
from ganzoo_runtime.images import pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

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
    rows: ClassVar[int] = 8

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

    @property
    def data_dtype(self) -> str:
        """``"uint8"``."""
        return "uint8"

    def scaled(self, pixel_range: tuple[float, float]) -> Image:
        """Return the image with values in ``pixel_range``."""
        return replace(self, range=pixel_range)

    def encode(self, batch: Tensor) -> Tensor:
        """Return uint8 pixels as float32 in the range, channels last; what is no uint8 stays as it is."""
        import torch

        if batch.dtype != torch.uint8:
            return batch
        low, high = self.range
        values = batch.to(torch.float32, memory_format=torch.channels_last).mul_((high - low) / 255)
        return values.add_(low) if low else values

    def decode(self, values: Tensor) -> Tensor:
        """Return values of the range as float32 in 0..255."""
        low, high = self.range
        return (values - low) * (255 / (high - low))

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return numbers of the range, each by itself."""
        return random.uniform(*self.range, (len(index), *self.shape)).astype(self.dtype)

    def fault(self, values: NDArray[Any]) -> str:
        """Say that values are outside of the range; pixels cannot be."""
        return "" if values.dtype == np.uint8 else outside(values, self.range)

    def span(self, values: NDArray[Any]) -> float:
        """Return the length of the range."""
        return self.range[1] - self.range[0]

    def packed(self, count: int) -> Image:
        """Join the channels."""
        return replace(self, channels=count * self.channels)

    def picture(
        self, samples: NDArray[Any], real: NDArray[Any] | None = None, columns: int | None = None
    ) -> NDArray[np.uint8]:
        """Lay the images out in a grid."""
        return drawing.grid(pixels(samples, self.range, self.layout), columns)


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

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return masks as samples are drawn for."""
        document = self.to_json()
        draw = kind_of(document).draw
        assert draw is not None
        return draw(random, document, len(index))


def _multiple(data: Mapping[str, Any]) -> int | None:
    return int(data["multiple"]) if "multiple" in data else None
