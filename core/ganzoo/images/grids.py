"""Images side by side: the grid of a training's samples, and comparisons."""

from collections.abc import Container, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from ganzoo.fields import Field, Image, Label, Signature
from ganzoo.files import atomic_path
from ganzoo.images.plots import save_density
from ganzoo_runtime.images import pixels as to_pixels

__all__ = ["GRID", "grid", "grid_columns", "grid_size", "save_comparison", "save_grid"]

GRID = 64
"""Images on a sample grid, unless its columns are classes."""

ROWS = 8
"""Rows of a sample grid whose columns are classes."""


def grid_columns(signature: Signature, fixed: Container[str] = ()) -> int | None:
    """Return how many columns make every column of a sample grid one class, if the model has at most 16 classes.

    They are the classes of the first label that is not ``fixed`` by name, since it changes fastest when samples are
    drawn. None is returned where there is no such label.
    """
    free = (field.classes for field in signature.inputs if isinstance(field, Label) and field.name not in fixed)
    classes = next(free, 1)
    return classes if 1 < classes <= 16 else None


def grid_size(signature: Signature) -> int:
    """Return how many images a sample grid of the model shows."""
    columns = grid_columns(signature)
    return ROWS * columns if columns else GRID


def save_grid(
    path: str | PathLike[str],
    samples: NDArray[Any],
    field: Field,
    real: NDArray[np.float32] | None = None,
    columns: int | None = None,
) -> None:
    """Draw samples of a field: images in a grid; points as a density plot, beside that of ``real`` points if given.

    The grid has so many ``columns``, or is nearly square.
    """
    if isinstance(field, Image):
        _save(path, grid(to_pixels(samples, field.range, field.layout), columns))
    else:
        save_density(path, samples, real)


def grid(pixels: NDArray[np.uint8], columns: int | None = None, pad: int = 2) -> NDArray[np.uint8]:
    """Lay images, uint8 [N, H, W, C], out in so many columns or a nearly square grid, on white, small ones enlarged."""
    pixels = _drawable(pixels)
    n, height, width, channels = pixels.shape
    columns = max(1, min(n, columns or round((n * height / width) ** 0.5)))
    rows = -(-n // columns)
    canvas = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, channels), 255, np.uint8)
    for index, image in enumerate(pixels):
        top, left = pad + index // columns * (height + pad), pad + index % columns * (width + pad)
        canvas[top : top + height, left : left + width] = image
    scale = max(1, 640 // max(canvas.shape[:2]))
    return canvas.repeat(scale, axis=0).repeat(scale, axis=1)


def save_comparison(path: str | PathLike[str], columns: Sequence[NDArray[np.uint8]]) -> None:
    """Draw images [N, H, W, C], row by row what belongs together side by side; as many such rows in one as fit."""
    sizes = max(images.shape[1] for images in columns), max(images.shape[2] for images in columns)
    shown = [_drawable(images) for images in columns]
    channels = max(images.shape[-1] for images in shown)
    shown = [_padded(_widened(images, channels), *sizes) for images in shown]
    together = np.stack(shown, axis=1).reshape(-1, *shown[0].shape[1:])
    _save(path, grid(together, len(columns) * max(1, 8 // len(columns))))


def _save(path: str | PathLike[str], pixels: NDArray[np.uint8]) -> None:
    image = Pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _drawable(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep gray, RGB and RGBA as they are; of any other number of channels show the first three, or the first."""
    channels = pixels.shape[-1]
    return pixels if channels in (1, 3, 4) else pixels[..., : 3 if channels > 3 else 1]


def _widened(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Turn gray to RGB where there are to be 3 channels, and either to opaque RGBA where there are to be 4."""
    if channels > 1 and pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, axis=-1)
    if channels > pixels.shape[-1]:
        pixels = np.pad(pixels, [*[(0, 0)] * (pixels.ndim - 1), (0, 1)], constant_values=255)
    return pixels


def _padded(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    (_, h, w, _), white = pixels.shape, 255
    return np.pad(pixels, ((0, 0), (0, height - h), (0, width - w), (0, 0)), constant_values=white)
