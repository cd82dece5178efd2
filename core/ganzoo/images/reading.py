"""Reading image files of any format, mode, rotation and size, and fitting them to a network's input.

Training, ``translate``, ``encode`` and masks all read by :class:`ImageReader`, so that a network is given in use what
it was given in training.
"""

import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageColor, UnidentifiedImageError

from ganzoo.errors import UserError
from ganzoo.fields import Image, Mask
from ganzoo.files import open_regular

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "ImageMode",
    "ImageReader",
    "find_images",
    "fitted",
    "on_background",
    "padded_size",
    "resized",
    "tell_skipped",
    "transparent",
]

ImageMode = Literal["grey", "rgb", "rgba"]
"""What images are turned into: 1, 3 or 4 channels of 8 bits."""

MAX_PIXELS = 2**27
"""Pixels of an image that is read, unless the user says otherwise: 134 megapixels."""

COLOR = "transparent pixels are laid on a color, which is a name such as white, or #RRGGBB, or rgb(255, 255, 255)"
"""What is said of a background that is none."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""The suffixes by which images are found in folders."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
_PILLOW: dict[ImageMode, str] = {"grey": "L", "rgb": "RGB", "rgba": "RGBA"}
_NAMED = 8  # images that a warning names
_STRIP = 256  # rows that are converted at a time
_ORIENTATION, _BITS, _PHOTOMETRIC = 0x0112, 0x0102, 0x0106  # tags of EXIF and TIFF
_UPRIGHT = {  # how the values of the first are undone
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
_log = logging.getLogger("ganzoo")
_header = threading.RLock()


@dataclass(frozen=True)
class ImageReader:
    """Reads image files: png, jpg, webp, bmp, gif and tiff, the first frame of each, upright, in 8 bits.

    ``mode`` is what they are turned into. Transparent pixels are laid on the color ``background``, or kept with the
    mode ``"rgba"``. Of 16 bits the upper 8 are taken, as Pillow does with 16-bit colors; integers of 32 bits and
    floating point numbers have no known range and are refused. CMYK, L*a*b* and others become RGB without their color
    profile. EXIF's orientation is obeyed; broken EXIF says nothing. More than ``max_pixels`` are refused before any is
    decoded; ``setting`` is what the user raises that with.

    Raises :class:`~ganzoo.UserError` for a background that is no color. What cannot be read raises it too, always with
    the same sentence, which begins with the path.
    """

    mode: ImageMode = "rgb"
    background: str = "white"
    max_pixels: int = MAX_PIXELS
    setting: str = "max_pixels"

    def __post_init__(self) -> None:
        assert self.mode in get_args(ImageMode)
        try:
            opaque = len(ImageColor.getrgb(self.background)) == 3
        except ValueError:
            opaque = False
        if not opaque:
            raise UserError(f"{COLOR}, not {self.background!r}")

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return len(_PILLOW[self.mode])  # the bands have a letter each

    def size(self, source: str | PathLike[str] | bytes, name: str = "") -> tuple[int, int]:
        """Return the height and width of the upright image; only the header is read."""
        with self.opened(source, name) as image:
            _check_range(image)
            # A TIFF's size is upright already. Pillow looks for a PNG's mark behind the pixels too, and decodes them
            # for it; hence the method of its base class.
            sideways = image.format != "TIFF" and _orientation(image) >= 5
            return image.size if sideways else image.size[::-1]

    def read(self, source: str | PathLike[str] | bytes, name: str = "") -> Pillow.Image:
        """Return the image of a file, or of the bytes of one called ``name``; of Pillow's mode L, RGB or RGBA."""
        with self.opened(source, name) as image:
            image.load()
            turn = _UPRIGHT.get(_orientation(image))  # a TIFF is turned by Pillow, and its mark is gone
            plain = self.convert(_in_8_bits(image))
        return plain if turn is None else plain.transpose(turn)

    def convert(self, image: Pillow.Image) -> Pillow.Image:
        """Return an image of mode L, RGB or RGBA in this reader's mode."""
        wanted = _PILLOW[self.mode]
        if wanted != "RGBA":
            image = on_background(image, self.background)
        return image if image.mode == wanted else image.convert(wanted)

    @contextmanager
    def opened(self, source: str | PathLike[str] | bytes, name: str = "") -> Iterator[Pillow.Image]:
        """Open a file and check its size; no pixel is decoded, and whatever the body stumbles over is one sentence."""
        path = name if isinstance(source, bytes) else source

        def too_large(pixels: str) -> UserError:
            return UserError(
                f"{path} cannot be read: it has {pixels}, and the limit is {self.max_pixels:,}; raise it with "
                f"{self.setting} if the image is meant to be so large"
            )

        try:
            with BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
                with _quiet(self.max_pixels):
                    image = Pillow.open(file, formats=_FORMATS)
                if image.width * image.height > self.max_pixels:
                    raise too_large(f"{image.width:,} x {image.height:,} pixels")
                yield image
        except (UserError, MemoryError):
            raise
        except Pillow.DecompressionBombError as error:  # of more than twice the limit
            found = re.search(r"\((\d+) pixels\)", str(error))
            raise too_large(f"{int(found[1]):,} pixels" if found else "too many pixels") from None
        except UnidentifiedImageError:
            kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
            reason = f"it is damaged, or no image of a kind that is read ({kinds})"
            raise UserError(f"{path} cannot be read: {reason}") from None
        except Exception as error:  # Pillow fails with whatever its decoders stumble over in a broken file
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{path} cannot be read: {reason}") from None


def find_images(root: Path) -> tuple[list[str], list[str]]:
    """Return the images under a folder by their suffixes, at any depth: those to read, and those that are hidden.

    Paths are relative to ``root`` and sorted by their parts. Hidden is what begins with a dot or lies in a folder that
    does, such as the thumbnails of file managers. Symbolic links are followed, unless they lead back to where they lie.
    Raises :class:`~ganzoo.UserError` if it is no folder, cannot be read, or has no images that are not hidden.
    """
    if not root.is_dir():
        raise UserError(f"{root} {'is not a folder' if root.exists() else 'does not exist'}")

    def walk(folder: Path, above: Sequence[str]) -> Iterator[tuple[str, ...]]:
        real = os.path.realpath(folder)
        if real in above:
            return
        for entry in os.scandir(folder):
            if entry.is_dir():
                for parts in walk(folder / entry.name, (*above, real)):
                    yield (entry.name, *parts)
            elif entry.name.lower().endswith(SUFFIXES):  # what is no file is named with what cannot be read
                yield (entry.name,)

    try:
        found = sorted(walk(root, ()))
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    shown: list[str] = []
    hidden: list[str] = []
    for parts in found:
        (hidden if any(part.startswith(".") for part in parts) else shown).append(os.sep.join(parts))
    if not shown:
        only = f" but {len(hidden)} hidden ones" if hidden else ""
        raise UserError(f"there are no images ({', '.join(suffix[1:] for suffix in SUFFIXES)}) in {root}{only}")
    return shown, hidden


def tell_skipped(root: Path, hidden: Sequence[str], problems: Sequence[str], total: int) -> None:
    """Say in one warning of the logger ``ganzoo`` how many images of a folder are left out, and which.

    ``hidden`` are paths, ``problems`` sentences on images that could not be read, of ``total`` that were tried. Raises
    :class:`~ganzoo.UserError` if all of them have failed.
    """
    if len(problems) == total:
        raise UserError(f"no image in {root} can be used, of {total:,} that were tried: {problems[0]}")
    skipped = [*problems, *(f"{root / file} is hidden" for file in hidden)]
    if not skipped:
        return
    more = f"; and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else ""
    some = "; ".join(skipped[:_NAMED])
    _log.warning("%d of %d images in %s are skipped: %s%s", len(skipped), total + len(hidden), root, some, more)


def on_background(image: Pillow.Image, color: str = "white") -> Pillow.Image:
    """Return an RGBA image laid on a color, as RGB; others as they are."""
    if image.mode != "RGBA":
        return image
    opaque = Pillow.new("RGB", image.size, color)
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def transparent(image: Pillow.Image) -> Pillow.Image | None:
    """Return where an RGBA image is more transparent than not, 255 there and 0 elsewhere; None if it is nowhere."""
    alpha = image.getchannel("A")
    if not any(alpha.histogram()[:128]):
        return None
    return alpha.point(lambda value: 255 if value < 128 else 0)


def resized(
    image: Pillow.Image,
    height: int,
    width: int,
    how: Literal["crop", "stretch"] = "crop",
    method: Pillow.Resampling = Pillow.Resampling.LANCZOS,
) -> Pillow.Image:
    """Return the image in another size; ``"crop"`` scales it until the size is filled and cuts the center."""
    if image.size == (width, height):
        return image
    box = None if how == "stretch" else _center(image.size, width / height)
    return image.resize((width, height), method, box=box)


def padded_size(image: Pillow.Image, field: Image | Mask) -> tuple[int, int]:
    """Return the height and width that an image is filled up to for a network that takes any multiple.

    These are two multiples at least (or the size of its training, if that is less), since networks that reflect at
    their borders need some to reflect.
    """
    assert field.multiple is not None
    least = [min(side, 2 * field.multiple) for side in (field.height, field.width)]
    height, width = (
        max(side + -side % field.multiple, low) for side, low in zip((image.height, image.width), least, strict=True)
    )
    return height, width


def fitted(image: Pillow.Image, field: Image | Mask, box: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    """Return pixels [C, H, W] of a size that the network takes; a mask keeps hard edges.

    For a network that takes any multiple, right and bottom are filled up by reflection to :func:`padded_size`, and
    ``box`` (left, upper, right, lower) is a part of that; for others the image is scaled until it fills the size, and
    cut to its center.
    """
    if field.multiple is None:
        method = Pillow.Resampling.NEAREST if isinstance(field, Mask) else Pillow.Resampling.LANCZOS
        pixels = np.asarray(resized(image, field.height, field.width, method=method), np.uint8)
    else:
        height, width = padded_size(image, field)
        left, upper, right, lower = box or (0, 0, width, height)
        inside = (left, upper, min(right, image.width), min(lower, image.height))
        part = image if inside == (0, 0, *image.size) else image.crop(inside)
        pixels = np.asarray(part, np.uint8)
        more = (lower - upper - part.height, right - left - part.width)
        mode = "symmetric" if min(image.size) <= max(height - image.height, width - image.width) else "reflect"
        pixels = np.pad(pixels, [(0, more[0]), (0, more[1]), *[(0, 0)] * (pixels.ndim - 2)], mode=mode)  # type: ignore[call-overload]
    return pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)


@contextmanager
def _quiet(max_pixels: int = MAX_PIXELS) -> Iterator[None]:
    """Let Pillow read headers up to our limit in place of its own, and keep its warnings on odd files to itself.

    Both are settings of the process, so one thread at a time does; pixels are decoded outside of this.
    """
    with _header, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Pillow.MAX_IMAGE_PIXELS = before


def _orientation(image: Pillow.Image) -> int:
    try:
        with _quiet():
            return int(Pillow.Image.getexif(image).get(_ORIENTATION, 1))
    except Exception:  # broken EXIF data, which says nothing about the pixels
        return 1


def _in_8_bits(image: Pillow.Image) -> Pillow.Image:
    """Return a loaded image of any mode as L or RGB, or as RGBA if it may be transparent somewhere."""
    if image.mode.startswith("I;16"):
        return _upper_bits(image)
    _check_range(image)
    if image.mode == "La":
        image = image.convert("LA")
    wanted = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _check_range(image: Pillow.Image) -> None:
    """Raise ValueError for a mode whose numbers may be anything; the header says it."""
    if image.mode in ("I", "F"):
        raise ValueError("its numbers have no known range; save it with 8 or 16 bits")


def _upper_bits(image: Pillow.Image) -> Pillow.Image:
    """Return a 16-bit gray image in 8 bits, converted in strips, since it may be large."""
    tags = getattr(image, "tag_v2", {})
    shift = 4 if tuple(tags.get(_BITS, ())) == (12,) else 8  # what Pillow does not scale
    inverted = tags.get(_PHOTOMETRIC) == 0  # and does not invert
    clear = image.info.get("transparency")
    plain = Pillow.new("L" if clear is None else "LA", image.size)
    for top in range(0, image.height, _STRIP):
        values = np.asarray(image.crop((0, top, image.width, min(top + _STRIP, image.height))))
        gray = (values >> shift).astype(np.uint8)
        bands = [Pillow.fromarray(255 - gray if inverted else gray)]
        if clear is not None:
            bands.append(Pillow.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
        plain.paste(bands[0] if clear is None else Pillow.merge("LA", bands), (0, top))
    return plain if clear is None else plain.convert("RGBA")


def _center(size: tuple[int, int], proportion: float) -> tuple[float, float, float, float]:
    """Return the largest box (left, upper, right, lower) of that width : height in the middle of the image."""
    width, height = size
    cut_width, cut_height = min(width, height * proportion), min(height, width / proportion)
    left, upper = (width - cut_width) / 2, (height - cut_height) / 2
    return left, upper, width - left, height - upper
