"""The transforms of adaptive discriminator augmentation (arXiv:2006.06676, appendix B), in one resampling an image.

Shapes: N images, C channels, H x W pixels. Twice the size, an image has 2 H x 2 W samples ("fine" below).
"""

from functools import cache
from math import pi, prod
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import grid_sample

from ganzoo import Augmentation, AugmentationConfig, full_precision

__all__ = ["Ada", "AdaConfig"]

# The low-pass filter of the orthogonal wavelet symlet 6 (sym6 of PyWavelets), to the digits that the authors' code has.
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
REACH = len(SYM6) // 2 - 1
"""Fine samples before that of a pixel which the filter reaches."""
CENTER = sum(place * tap for place, tap in enumerate(SYM6)) / sum(SYM6) - REACH
"""Where a pixel lies after the filter, in fine samples from twice its place: the filter is not quite symmetric."""


class AdaConfig(AugmentationConfig):
    """How often each transform is applied, as a share of the probability that all have in common."""

    xflip: float = Field(1.0, ge=0, le=1, description="share for mirroring")
    rotate90: float = Field(1.0, ge=0, le=1, description="share for turns by multiples of 90 degrees")
    xint: float = Field(1.0, ge=0, le=1, description="share for moves by whole pixels, up to an eighth of the size")
    scale: float = Field(1.0, ge=0, le=1, description="share for scaling by 2^N(0, 0.2^2)")
    rotate: float = Field(1.0, ge=0, le=1, description="share for turns by any angle")
    aniso: float = Field(1.0, ge=0, le=1, description="share for stretching one axis by 2^N(0, 0.2^2), the other back")
    xfrac: float = Field(1.0, ge=0, le=1, description="share for moves by N(0, 0.125^2) of the size")
    brightness: float = Field(1.0, ge=0, le=1, description="share for adding N(0, 0.2^2) of half the range")
    contrast: float = Field(1.0, ge=0, le=1, description="share for multiplying by 2^N(0, 0.5^2)")
    lumaflip: float = Field(1.0, ge=0, le=1, description="share for turning light to dark, hues kept")
    hue: float = Field(1.0, ge=0, le=1, description="share for turning hues by any angle")
    saturation: float = Field(1.0, ge=0, le=1, description="share for multiplying saturation by 2^N(0, 1)")


class Ada(Augmentation[AdaConfig]):
    """Adaptive discriminator augmentation: the geometric and color transforms of arXiv:2006.06676, appendix B ("bgc").

    Each transform is applied to each image with the probability times the transform's share, whatever the others do, in
    the order of the settings. Mirroring and turns by 90 degrees copy pixels. All other geometry is one affine matrix an
    image: the image, continued by its mirror images without end, is doubled in size by a wavelet filter, sampled
    bilinearly, and halved by the same filter. That is anti-aliased, and exact for moves by whole pixels. All of color
    is one matrix an image. What no transform was drawn for stays as it is to the bit: a probability of 0 is the
    identity.

    Images that are not square are turned by 180 degrees alone. Hue and saturation are those of three channels; the
    fourth, which says how opaque a pixel is, has geometry alone; of images with any other number of channels each one
    is treated as gray.

    No value is read, so that no step waits for a GPU. The authors read how much the batch's largest transform needs for
    a border, and cut that off at the size of the image, beyond which there are zeros; here one period of the mirrored
    image is kept, which is less than their most, and endless. The authors also turn about a point that is off the
    center by the filter's asymmetry, 0.2 pixels, and mirror through the filter. Upsampling is a product with a dense
    matrix: fast for up to 256 pixels a side; from 512 on it costs about as much as a network of that size.
    """

    largest = 0.8  # section 2.2: below it leaks are unlikely in practice

    def __call__(self, x: Tensor) -> Tensor:
        return self.apply(x, 1.0)

    def apply(self, x: Tensor, probability: float | Tensor) -> Tensor:
        # TensorFloat-32 would leave 10 bits of a pixel.
        with full_precision(x.device):
            return self._color(self._geometry(x, probability), probability)

    def _geometry(self, x: Tensor, p: float | Tensor) -> Tensor:
        share, drawn, (height, width) = self.config, _Numbers(x), x.shape[2:]
        if share.xflip:
            x = torch.where(_column(drawn.whole(2, p * share.xflip) > 0), x.flip(3), x)
        if share.rotate90:
            square = height == width
            turns = drawn.whole(4, p * share.rotate90) if square else 2 * drawn.whole(2, p * share.rotate90)
            x = torch.where(_column(turns >= 2), x.flip((2, 3)), x)
            if square:
                x = torch.where(_column(turns % 2 > 0), x.transpose(2, 3).flip(2), x)
        if not any((share.xint, share.scale, share.rotate, share.aniso, share.xfrac)):
            return x
        whole = drawn.uniform(0.125, p * share.xint, 2)
        scale = drawn.normal(0.2, p * share.scale)
        # Two rotations, so that an image is stretched along any axis: either is as likely as any other transform.
        once = 1 - (1 - p * share.rotate) ** 0.5
        before, after = drawn.uniform(pi, once), drawn.uniform(pi, once)
        stretch = drawn.normal(0.2, p * share.aniso)
        moved = drawn.normal(0.125, p * share.xfrac, 2)
        # From where a pixel shows to where it was, relative to the center: the inverses, the last transform's first.
        axes = torch.stack([torch.exp2(-scale - stretch), torch.exp2(stretch - scale)], 1)
        linear = (_rotation(before) * axes[:, None]) @ _rotation(after)
        end = torch.stack([width * moved[0], height * moved[1]], 1)[:, :, None]
        start = torch.stack([width * whole[0], height * whole[1]], 1)[:, :, None].round()
        matrix = torch.cat([linear, -2 * (linear @ end + start)], 2)
        changed = (matrix != torch.eye(2, 3, dtype=x.dtype, device=x.device)).flatten(1).any(1)
        return torch.where(_column(changed), _resampled(x, matrix), x)

    def _color(self, x: Tensor, p: float | Tensor) -> Tensor:
        share, drawn, channels = self.config, _Numbers(x), x.shape[1]
        if not any((share.brightness, share.contrast, share.lumaflip, share.hue, share.saturation)):
            return x
        brightness = drawn.normal(0.2, p * share.brightness)
        contrast = drawn.normal(0.5, p * share.contrast)
        flip = drawn.whole(2, p * share.lumaflip)
        hue = drawn.uniform(pi, p * share.hue)
        saturation = drawn.normal(1.0, p * share.saturation)
        # With v the axis of grays, contrast scales all, the luma flip turns what is along v, saturation scales and hue
        # turns what is across it. These commute, and their product is circulant: channel i has m_d of channel i + d.
        luma = torch.exp2(contrast) * (1 - 2 * flip)
        low, high = self.pixel_range
        offset = luma * brightness * ((high - low) / 2) + (1 - luma) * ((low + high) / 2)  # about the range's middle
        colors = x[:, :3] if channels == 4 else x
        if colors.shape[1] == 3:
            across = torch.exp2(contrast + saturation) * 2
            m = [(luma + across * torch.cos(hue + 2 * pi / 3 * d)) / 3 for d in range(3)]
            matrix = torch.stack([m[0], m[1], m[2], m[2], m[0], m[1], m[1], m[2], m[0]], 1).view(-1, 3, 3)
            new = torch.baddbmm(offset[:, None, None], matrix, colors.flatten(2)).view_as(colors)
            parameters = torch.stack([brightness, contrast, flip, hue, saturation])
        else:
            new = colors * _column(luma) + _column(offset)
            parameters = torch.stack([brightness, contrast, flip])
        new = torch.where(_column((parameters != 0).any(0)), new, colors)
        return torch.cat([new, x[:, 3:]], 1) if channels == 4 else new


class _Numbers:
    """Draws what a transform does to each of N images; 0, which is nothing, for those that it is not applied to."""

    def __init__(self, x: Tensor) -> None:
        self._like: dict[str, Any] = {"dtype": x.dtype, "device": x.device}
        self._count = len(x)

    def normal(self, deviation: float, chance: float | Tensor, *rows: int) -> Tensor:
        return self._chosen(torch.randn(prod(rows) * self._count, **self._like).view(*rows, -1) * deviation, chance)

    def uniform(self, reach: float, chance: float | Tensor, *rows: int) -> Tensor:
        return self._chosen(
            (torch.rand(prod(rows) * self._count, **self._like).view(*rows, -1) * 2 - 1) * reach, chance
        )

    def whole(self, below: int, chance: float | Tensor) -> Tensor:
        return self._chosen((torch.rand(self._count, **self._like) * below).floor(), chance)

    def _chosen(self, values: Tensor, chance: float | Tensor) -> Tensor:
        # All are drawn, then some are dropped: as many numbers whatever the chance is, and no shape depends on it.
        return values * (torch.rand(self._count, **self._like) < chance)


def _column(values: Tensor) -> Tensor:
    """Return [N] as [N, 1, 1, 1]."""
    return values[:, None, None, None]


def _rotation(angle: Tensor) -> Tensor:
    """Return [N] angles as matrices [N, 2, 2]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)


def _resampled(x: Tensor, matrix: Tensor) -> Tensor:
    """Return images whose pixels are from where [N, 2, 3] sends theirs: in fine samples from the center, x then y."""
    height, width = x.shape[2:]
    vertical, horizontal = (_Line.of(size, x.dtype, x.device) for size in (height, width))
    fine = vertical.up @ (x @ horizontal.up.T)
    # As a share of the period, from its middle; less the whole number of periods, that is between -1/2 and 1/2.
    rows = [part / line.period for part, line in zip(matrix.unbind(1), (horizontal, vertical), strict=True)]
    middles = [line.middle / line.period - 0.5 for line in (horizontal, vertical)]
    across = torch.stack([row[:, :1] * horizontal.places for row in rows], 2)
    down = [row[:, 1:2] * vertical.places + (row[:, 2:] + middle) for row, middle in zip(rows, middles, strict=True)]
    grid = torch.stack(down, 2)[:, :, None] + across[:, None]
    grid = (grid - grid.round()).mul_(2)
    return vertical.down @ (grid_sample(fine, grid, align_corners=True) @ horizontal.down.T)


class _Line(NamedTuple):
    """What is done to the pixels of a line, which goes on mirrored about its first and its last pixel without end."""

    period: int
    """Fine samples after which it repeats."""
    middle: float
    """Where its middle is, in fine samples."""
    up: Tensor
    """The matrix from pixels to one period of fine samples, and the first one of the next."""
    places: Tensor
    """Fine samples that make up the line's pixels, from its middle."""
    down: Tensor
    """The matrix from these to pixels."""

    @staticmethod
    @cache
    def of(size: int, dtype: torch.dtype, device: torch.device) -> "_Line":
        """Return that of a line of so many pixels."""
        taps, tap = torch.tensor(SYM6, dtype=torch.float64), torch.arange(len(SYM6))
        period, middle = max(2 * (size - 1), 1), size - 1 + CENTER
        place = torch.arange(2 * period + 1)[:, None] + REACH - tap
        pixel = place.div(2, rounding_mode="floor") % period
        up = torch.zeros(2 * period + 1, size, dtype=torch.float64)
        up.scatter_add_(1, torch.minimum(pixel, period - pixel), taps * (place % 2 == 0) * 2**0.5)
        down = torch.zeros(size, 2 * size + len(SYM6) - 2, dtype=torch.float64)
        down.scatter_(1, 2 * torch.arange(size)[:, None] + tap, (taps * 0.5**0.5).expand(size, -1))
        places = torch.arange(down.shape[1], dtype=torch.float64) - REACH - middle
        up, places, down = (each.to(device, dtype) for each in (up, places, down))
        return _Line(2 * period, middle, up, places, down)
