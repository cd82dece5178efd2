"""From a network's numbers to pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["to_pixels"]


def to_pixels(samples: NDArray[Any], value_range: tuple[float, float], layout: str = "") -> NDArray[np.uint8]:
    """Turn images [N, C, H, W] in ``value_range`` into pixels, uint8 [N, H, W, C].

    What is uint8 already, from a file exported with pixels, is brought from its ``layout`` into this one.
    """
    pixels: NDArray[np.uint8] = np.asarray(samples)
    if pixels.dtype != np.uint8:
        low, high = value_range
        scaled = (np.asarray(samples, dtype=np.float32) - low) * (255.0 / (high - low))
        pixels = np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)
    return pixels if layout == "NHWC" else pixels.transpose(0, 2, 3, 1)
