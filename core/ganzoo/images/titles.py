"""Words above images: the classes of a grid's columns, and the step of a frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from ganzoo_runtime.text import shown

__all__ = ["above", "columns_named"]

_STRIP = 20  # pixels


def above(image: Pillow.Image, text: str) -> Pillow.Image:
    """Return an image with a white strip above it, and a text in that."""
    return _under(image, [(4, image.width - 4, text)])


def columns_named(pixels: NDArray[np.uint8], names: Sequence[str]) -> NDArray[np.uint8]:
    """Return a grid, uint8 [H, W, C], with the name of each column above it, those that are too long cut short."""
    image = Pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    each = image.width / len(names)
    titled = np.asarray(_under(image, [(index * each, (index + 1) * each, name) for index, name in enumerate(names)]))
    return titled[..., None] if titled.ndim == 2 else titled


def _under(image: Pillow.Image, texts: Sequence[tuple[float, float, str]]) -> Pillow.Image:
    """Put a strip above an image with texts in it, each in the middle between two pixels."""
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGB")
    made = Pillow.new(image.mode, (image.width, image.height + _STRIP), "white")
    made.paste(image, (0, _STRIP))
    draw = ImageDraw.Draw(made)
    font = ImageFont.load_default(12)  # comes with Pillow; what it has not, such as Chinese, is an empty box
    for left, right, text in texts:
        text = " ".join(shown(text).split())
        if draw.textlength(text, font) > right - left - 2:
            while text and draw.textlength(f"{text}…", font) > right - left - 2:
                text = text[:-1]
            text = f"{text}…" if text else ""
        draw.text(((left + right) / 2, _STRIP / 2), text, fill="black", font=font, anchor="mm")
    return made
