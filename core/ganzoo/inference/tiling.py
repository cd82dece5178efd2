"""Image-to-image networks on images of any size: whole, or in overlapping tiles where the result is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from ganzoo.errors import UserError
from ganzoo.fields import Image, Latent, Mask, Signature
from ganzoo.images.reading import fitted, padded_size
from ganzoo_runtime.images import pixels as to_pixels

if TYPE_CHECKING:
    from ganzoo.gan.sampler import Sampler

__all__ = ["UNTILED", "Translator", "draw_latents", "tiles"]

UNTILED = 2**24
"""Pixels of an image for a network that needs all of it at once: 17 megapixels, some gigabytes for a small network."""

_AT_ONCE = 2**22  # pixels that are computed at once without more ado
_TILE = 1024  # side of a tile, unless the network sees further
_TOLERANCE = 1 / 8  # of the 255 levels; tiles that differ less from the whole do not show
_FURTHEST = 1024  # pixels, or
_MULTIPLES = 32  # of the network's multiple, whichever is more: the longest strip that its reach is looked for in

Box = tuple[int, int, int, int]
"""Left, upper, right, lower."""


class Translator:
    """A network that turns an image, with or without a mask, into another.

    ``untiled`` is the largest number of pixels of an image that cannot be computed in tiles; ``setting`` is the name of
    the setting by which the user raises this limit.
    """

    def __init__(self, sampler: Sampler, untiled: int = UNTILED, setting: str = "untiled") -> None:
        self.sampler = sampler
        self.signature = Signature.from_json(sampler.metadata["signature"])
        field = self.signature.inputs[0]
        if not isinstance(field, Image):
            raise UserError(f"this network takes {field.kind} first, and no image that could be translated")
        self.field, self.multiple = field, field.multiple
        self.untiled, self.setting = untiled, setting

    def check(self, image: Pillow.Image) -> None:
        """Raise :class:`~ganzoo.UserError` if the image is too large to be translated."""
        if self._large(image) and self.reach is None and (count := image.width * image.height) > self.untiled:
            raise UserError(
                f"this network needs the whole image at once, since what it draws in one place depends on all of it "
                f"(instance norm does that), and {image.width:,} x {image.height:,} pixels are more than the limit of "
                f"{self.untiled:,}; make the image smaller, or, with gigabytes of memory for every 10 megapixels, "
                f"raise the limit with {self.setting} {count}"
            )

    def __call__(
        self,
        image: Pillow.Image,
        mask: Pillow.Image | None = None,
        others: Mapping[str, NDArray[Any]] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Pillow.Image:
        """Return the translation: of the size of the image if the network takes any, of its own otherwise.

        The image has as many channels as the network takes. ``mask`` is 255 in the hole, for networks that take one.
        ``others`` are the inputs that are no images, [1, ...] each, by name; if left out, the latents of seed 0.
        ``progress`` is called with how many tiles of how many are done, if there are several.
        """
        others = draw_latents(self.signature, 1, 0) if others is None else others
        if not self._large(image) or self.reach is None:
            pixels = self._pixels(self._run(image, mask, others))
            return _to_image(pixels if self.multiple is None else pixels[: image.height, : image.width])
        # Tiles overlap by the reach of the network on each side, and only their inner parts are kept: every pixel that
        # is kept has seen all that it depends on, so there are no seams. A tile is at least four times the reach wide,
        # or most of the work would be thrown away.
        boxes = list(tiles(*padded_size(image, self.field), self.reach, max(_TILE, 4 * self.reach), self._step))
        drawn: Pillow.Image | None = None
        for done, (inner, outer) in enumerate(boxes, start=1):
            pixels = self._pixels(self._run(image, mask, others, outer))
            (left, upper, right, lower), (x, y, _, _) = inner, outer
            part = _to_image(pixels[upper - y : lower - y, left - x : right - x])
            drawn = drawn or Pillow.new(part.mode, image.size)
            drawn.paste(part, (left, upper))
            if progress is not None:
                progress(done, len(boxes))
        assert drawn is not None
        return drawn

    @cached_property
    def reach(self) -> int | None:
        """The receptive field: how many pixels around a part of an image its output depends on; None if on all.

        It is measured, since that works for a run and for a file of any format. The network is applied to a strip of
        noise and to the middle half of the strip alone. At some distance from the cut both outputs agree; that distance
        is the reach. They never agree for a network that uses the whole image (instance norm, attention) or positions.
        """
        # Both directions, since kernels need not be square; fine and coarse noise, since fine noise averages out in
        # a network that blurs or downsamples, and would hide how far it sees.
        reach = 0
        for lying in (True, False):
            for grain in (1, 16):
                if (found := self._reach(lying, grain)) is None:
                    return None
                reach = max(reach, found)
        # At least one multiple: an image is filled up to a multiple by reflecting its border, so the last tile needs
        # the pixels that are reflected.
        return max(1, -(-reach // self._step)) * self._step

    @property
    def _step(self) -> int:
        return self.multiple or 1

    def _large(self, image: Pillow.Image) -> bool:
        return self.multiple is not None and image.width * image.height > _AT_ONCE

    def _run(
        self,
        image: Pillow.Image,
        mask: Pillow.Image | None,
        others: Mapping[str, NDArray[Any]],
        box: Box | None = None,
    ) -> NDArray[Any]:
        """Apply the network to an image, or to a part of it, and return what it gives, a batch of one."""
        inputs: list[NDArray[Any]] = []
        for field in self.signature.inputs:
            match field:
                case Image(range=(low, high)):
                    scale = np.float32((high - low) / 255)
                    inputs.append(fitted(image, field, box)[None].astype(np.float32) * scale + np.float32(low))
                case Mask():
                    assert mask is not None
                    inputs.append(fitted(mask, field, box)[None].astype(np.float32) / np.float32(255))
                case _:
                    inputs.append(others[field.name])
        try:
            return np.ascontiguousarray(self.sampler(*map(np.ascontiguousarray, inputs)))
        except ValueError as error:
            raise UserError(str(error)) from None

    def _pixels(self, output: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the pixels [H, W, C] of a batch of one."""
        assert isinstance(self.signature.output, Image)
        (pixels,) = to_pixels(output, self.signature.output.range, self.signature.output.layout)
        return np.asarray(pixels, np.uint8)

    def _differs(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where two outputs, [N, C, H, W] or pixels, would show as different images, [H, W]."""
        field = self.signature.output
        assert isinstance(field, Image)
        if one.dtype == np.uint8:  # rounded
            apart = np.abs(one.astype(np.int16) - other) > 1
        else:
            low, high = field.range
            one, other = (np.clip(each, low, high).astype(np.float32) for each in (one, other))
            apart = np.abs(one - other) > (high - low) / 255 * _TOLERANCE
        return np.asarray(apart.any(axis=(0, 3 if field.layout == "NHWC" else 1)))

    def _reach(self, lying: bool, grain: int) -> int | None:
        """Return the reach along a strip of noise whose grains are ``grain`` pixels large; None if it has no limit."""
        step = self._step
        breadth, length = 2 * step * -(-16 // (2 * step)), 4 * step * max(2, -(-256 // (4 * step)))
        others = {
            field.name: np.random.default_rng(0).standard_normal((1, *field.shape), np.float32)
            for field in self.signature.inputs
            if not isinstance(field, Image | Mask)
        }
        nhwc = isinstance(self.signature.output, Image) and self.signature.output.layout == "NHWC"
        while length <= max(_FURTHEST, _MULTIPLES * step):
            start, stop = length // 4, 3 * length // 4
            noise = _noise(length, breadth, self.field.channels + 1, grain)
            if not lying:
                noise = noise.transpose(1, 0, 2)
            image = _to_image(np.ascontiguousarray(noise[..., :-1]))
            mask = Pillow.fromarray(np.where(noise[..., -1] % 2, 255, 0).astype(np.uint8))
            box = (start, 0, stop, breadth) if lying else (0, start, breadth, stop)
            whole, part = self._run(image, mask, others), self._run(image, mask, others, box)
            along = (2 if lying else 1) if nhwc else (3 if lying else 2)
            if whole.shape[along] != length:
                return None
            differs = self._differs(whole.take(range(start, stop), axis=along), part).any(axis=0 if lying else 1)
            left, right = np.split(differs, 2)
            found = max(_last(left), _last(right[::-1]))
            # Each half of the middle is length // 4 long. A quarter of it has to agree, so that agreement by chance
            # is not taken for the reach; otherwise a strip of twice the length is tried.
            if found <= 3 * length // 16:
                return found
            length *= 2
        return None


def draw_latents(signature: Signature, n: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return ``n`` rows of every latent of a signature that may take images too, [n, ...], by its name."""
    fields = tuple(field for field in signature.inputs if isinstance(field, Latent))
    if not fields:
        return {}
    from ganzoo.inference.sampling import draw_inputs  # it needs torch, which a file without latents does not

    drawn = draw_inputs(replace(signature, inputs=fields), n, seed)
    return {field.name: rows.numpy() for field, rows in zip(fields, drawn, strict=True)}


def tiles(height: int, width: int, reach: int, side: int, step: int) -> Iterator[tuple[Box, Box]]:
    """Yield the tiles of an image: the part that is kept, and the larger part around it that the network is given.

    The latter are at most ``side`` pixels high and wide, which is more than twice ``reach``, and all begin at multiples
    of ``step``.
    """
    inner = (side - 2 * reach) // step * step
    for upper in range(0, height, inner):
        for left in range(0, width, inner):
            right, lower = min(left + inner, width), min(upper + inner, height)
            outer = (max(0, left - reach), max(0, upper - reach), min(width, right + reach), min(height, lower + reach))
            yield (left, upper, right, lower), outer


def _noise(length: int, breadth: int, channels: int, grain: int) -> NDArray[np.uint8]:
    """Return a strip of noise [breadth, length, C] that is darker in the middle half.

    A network that uses the mean of the image (instance norm) then sees different means in the strip and its middle.
    """
    shape = (-(-breadth // grain), -(-length // grain), channels)
    noise = np.random.default_rng(grain).integers(0, 128, shape, np.uint8)
    noise = noise.repeat(grain, axis=0).repeat(grain, axis=1)[:breadth, :length]
    outside = np.abs(np.arange(length) - (length - 1) / 2) > length / 4
    noise[:, outside] += 127
    return noise


def _last(differs: NDArray[np.bool_]) -> int:
    """Return the number of places up to the last one that is true."""
    places = np.flatnonzero(differs)
    return int(places[-1]) + 1 if len(places) else 0


def _to_image(pixels: NDArray[np.uint8]) -> Pillow.Image:
    return Pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
