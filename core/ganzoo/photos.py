"""Pictures of any size and format, made fit for a network, and back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from ganzoo.errors import UserError
from ganzoo.signature import Image

__all__ = ["SUFFIXES", "fitted", "pictures_in", "read_mask", "read_picture"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


def pictures_in(path: Path) -> Iterator[Path]:
    """Yield the picture itself, or those under a folder, at any depth, sorted; raises :class:`UserError` for none."""
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"there is no picture or folder {path}")
        yield path
        return
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
    if not found:
        raise UserError(f"there are no pictures ({', '.join(suffix[1:] for suffix in SUFFIXES)}) in {path}")
    yield from found


def read_picture(path: Path, channels: int) -> tuple[Pillow.Image, Pillow.Image | None]:
    """Return a picture upright, grey or RGB and opaque, and where it was transparent (255), if it was anywhere.

    What is transparent is laid on white. Raises :class:`UserError` if it cannot be read.
    """
    if channels not in (1, 3):
        raise UserError(f"this model takes images of {channels} channels, which no picture has")
    try:
        with Pillow.open(path, formats=_FORMATS) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged, or no picture of a kind that can be read"
        raise UserError(f"{path} cannot be read: {reason}") from None
    hole = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        if any(alpha.histogram()[:128]):
            hole = alpha.point(lambda value: 255 if value < 128 else 0)
        image = Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image)
    return image.convert("RGB" if channels == 3 else "L"), hole


def read_mask(path: Path) -> Pillow.Image:
    """Return a mask, 255 where it is white, 0 where it is black."""
    image, _ = read_picture(path, 1)
    return image.point(lambda value: 255 if value >= 128 else 0)


def fitted(image: Pillow.Image, field: Image, *, mask: bool = False) -> NDArray[np.uint8]:
    """Return pixels [C, H, W] of a size that the network takes.

    For one that takes any multiple, right and bottom are filled up by reflection, to two multiples at least (or the
    size of its training, if that is less), since networks that reflect at their borders need some to reflect; for
    others the image is scaled until it fills the size, and cut to its centre. ``mask`` keeps hard edges.
    """
    if field.multiple is None:
        method = Pillow.Resampling.NEAREST if mask else Pillow.Resampling.LANCZOS
        image = ImageOps.fit(image, (field.width, field.height), method)
        pixels = np.asarray(image, np.uint8)
    else:
        pixels = np.asarray(image, np.uint8)
        least = [min(side, 2 * field.multiple) for side in (field.height, field.width)]
        sides = [max(side + -side % field.multiple, low) for side, low in zip(pixels.shape[:2], least, strict=True)]
        more = [side - there for side, there in zip(sides, pixels.shape, strict=False)]
        mode = "symmetric" if min(pixels.shape[:2]) <= max(more) else "reflect"
        pixels = np.pad(pixels, [(0, more[0]), (0, more[1]), *[(0, 0)] * (pixels.ndim - 2)], mode=mode)  # type: ignore[call-overload]
    return pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)
