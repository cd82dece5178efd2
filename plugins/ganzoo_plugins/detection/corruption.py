"""What images go through between a generator and whoever looks at them: blur, JPEG, resizing."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

__all__ = ["as_jpeg", "augmented", "rescaled"]

Pixels = NDArray[np.uint8]


def augmented(image: Pixels, random: np.random.Generator, side: int) -> Pixels:
    """Return a random crop, [side, side, 3], mirrored, blurred and compressed at random, as arXiv:1912.11035 does.

    Half of the images are blurred, with a deviation of 0 to 3 pixels, and half go through JPEG of quality 30 to 100,
    each independently ("Blur+JPEG (0.5)").
    """
    from scipy.ndimage import gaussian_filter

    height, width, _ = image.shape
    top, left = random.integers(height - side + 1), random.integers(width - side + 1)
    image = image[top : top + side, left : left + side]
    if random.random() < 0.5:
        image = image[:, ::-1]
    if random.random() < 0.5:
        sigma = random.uniform(0, 3)
        image = gaussian_filter(image, (sigma, sigma, 0))
    if random.random() < 0.5:
        image = as_jpeg(image, int(random.integers(30, 101)))
    return image


def as_jpeg(image: Pixels, quality: int) -> Pixels:
    """Return an image, uint8 [H, W, 3], as it comes out of a JPEG file."""
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Pillow.open(file))


def rescaled(image: Pixels, factor: float) -> Pixels:
    """Return an image, uint8 [H, W, 3], in another size, by bicubic interpolation."""
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BICUBIC))
