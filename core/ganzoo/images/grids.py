"""Images side by side: the grid of a training's samples, and comparisons."""

from collections.abc import Container, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from ganzoo.fields import Field, Image, Label, Signature
from ganzoo.fields.drawing import grid, viewable
from ganzoo.images.marking import save_image
from ganzoo.images.titles import columns_named

__all__ = ["column_names", "grid_columns", "grid_size", "save_comparison", "save_grid"]


def grid_columns(signature: Signature, fixed: Container[str] = ()) -> int | None:
    """Return how many columns make every column of a sample grid one class, if the model has at most 16 classes.

    They are the classes of the first label that is not ``fixed`` by name, since it changes fastest when samples are
    drawn. None is returned where there is no such label.
    """
    label = _label(signature, fixed)
    return None if label is None else label.classes


def column_names(signature: Signature) -> tuple[str, ...]:
    """Return the names, or numbers, of the classes that the columns of a sample grid are; empty if they are none."""
    label = _label(signature)
    return () if label is None else label.names or tuple(map(str, range(label.classes)))


def _label(signature: Signature, fixed: Container[str] = ()) -> Label | None:
    free = (field for field in signature.inputs if isinstance(field, Label) and field.name not in fixed)
    label = next(free, None)
    return label if label is not None and 1 < label.classes <= 16 else None


def grid_size(signature: Signature) -> int:
    """Return how many samples a picture shows, such as 64 images, or 8 rows of them whose columns are classes."""
    columns, output = grid_columns(signature), signature.output
    return output.rows * columns if columns and output.rows else output.shown


def save_grid(
    path: str | PathLike[str],
    samples: NDArray[Any],
    field: Field,
    real: NDArray[Any] | None = None,
    columns: int | None = None,
    *,
    names: Sequence[str] = (),
    claims: Mapping[str, str] | None = None,
) -> None:
    """Draw samples of a field as its kind is drawn: images in a grid, points as their density, tokens as text.

    ``real`` samples are shown beside where a kind compares; a grid has so many ``columns``, or is nearly square.
    ``names`` stand above the columns of a grid of images, as those of the classes that they are of.
    ``claims`` are what the file says of where it comes from (:func:`ganzoo_runtime.provenance`).
    """
    pixels = field.picture(samples, real, columns)
    if names and columns == len(names) <= len(samples) and isinstance(field, Image):
        pixels = columns_named(pixels, names)
    _save(path, pixels, claims)


def save_comparison(
    path: str | PathLike[str], columns: Sequence[NDArray[np.uint8]], claims: Mapping[str, str] | None = None
) -> None:
    """Draw images [N, H, W, C], row by row what belongs together side by side; as many such rows in one as fit."""
    sizes = max(images.shape[1] for images in columns), max(images.shape[2] for images in columns)
    shown = [viewable(images) for images in columns]
    channels = max(images.shape[-1] for images in shown)
    shown = [_padded(_widened(images, channels), *sizes) for images in shown]
    together = np.stack(shown, axis=1).reshape(-1, *shown[0].shape[1:])
    _save(path, grid(together, len(columns) * max(1, 8 // len(columns))), claims)


def _save(path: str | PathLike[str], pixels: NDArray[np.uint8], claims: Mapping[str, str] | None) -> None:
    save_image(path, Pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels), "PNG", claims)


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
