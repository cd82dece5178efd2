"""From a network's numbers to pixels."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["to_pixels"]


def to_pixels(samples: NDArray[np.float32], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Turn images [N, C, H, W] in ``value_range`` into pixels, uint8 [N, H, W, C]."""
    low, high = value_range
    scaled = (np.asarray(samples, dtype=np.float32) - low) * (255.0 / (high - low))
    pixels: NDArray[np.uint8] = np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels
