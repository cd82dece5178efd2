"""Conversion of a generator's output to pixels and PNG files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .marking import png_chunk, png_chunks

__all__ = ["encode_png", "pixels"]

_COLORS = {1: 0, 3: 2, 4: 6}  # PNG's types of color, by the number of channels: gray, RGB, RGBA


def pixels(samples: ArrayLike, range: Sequence[float], layout: str = "NCHW") -> NDArray[np.uint8]:
    """Turn images [N, C, H, W] with values in ``range`` into uint8 [N, H, W, C], rounded half up and clipped.

    What is uint8 already, from a model exported with pixels inside, is brought into that ``layout`` only.
    """
    array, (low, high) = np.asarray(samples), range
    if array.ndim != 4:
        raise ValueError(f"images have the shape [N, C, H, W], not {list(array.shape)}")
    if array.dtype != np.uint8:
        scaled = np.floor(
            (array.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low)) + np.float32(0.5)
        )
        array = np.nan_to_num(scaled.clip(0, 255)).astype(np.uint8)
    return np.ascontiguousarray(array if layout == "NHWC" else array.transpose(0, 2, 3, 1))


def encode_png(image: NDArray[np.uint8], claims: Mapping[str, str] | None = None) -> bytes:
    """Return an image, uint8 [H, W, C] with 1, 3 or 4 channels, as a PNG file; of others the first three, or one.

    ``claims`` are what the file says of where it comes from; see :func:`provenance`.
    """
    height, width, channels = image.shape
    if channels not in _COLORS:
        image = image[..., : 3 if channels > 3 else 1]
    rows = np.zeros((height, 1 + image[0].size), np.uint8)  # each row starts with the number of its filter: none
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLORS[image.shape[-1]], 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + (png_chunks(claims) if claims else b"")
        + png_chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + png_chunk(b"IEND", b"")
    )
