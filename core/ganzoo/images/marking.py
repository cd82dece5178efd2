"""Image files that say where they come from: writing and reading the claims of :mod:`ganzoo_runtime.marking`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from ganzoo.errors import UserError
from ganzoo.files import atomic_path, open_regular
from ganzoo.images.reading import ImageReader
from ganzoo_runtime.marking import MOST, XMP_KEY, as_sentence, from_xmp, to_xmp

__all__ = ["read_claims", "save_image", "with_gif_claims"]

_GIF_XMP = b"\x21\xff\x0bXMP DataXMP"  # an extension by an application, its name and its authentication
# XMP lies in a GIF as it is; whatever byte of it a reader takes for a block's length leads to these, and to their end.
_GIF_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
_TIFF_XMP = 700


def save_image(
    path: str | PathLike[str], image: Pillow.Image, form: str, claims: Mapping[str, str] | None = None, **options: Any
) -> None:
    """Write an image, atomically, in a format of Pillow's; of the claims, BMP has no place for any."""
    if claims and form == "PNG":
        options["pnginfo"] = info = PngInfo()
        info.add_itxt(XMP_KEY, to_xmp(claims).decode())
        info.add_itxt("Comment", as_sentence(claims))
    elif claims and form in ("JPEG", "WEBP"):
        options["xmp"] = to_xmp(claims)
    elif claims and form == "TIFF":
        options["tiffinfo"] = {_TIFF_XMP: to_xmp(claims)}
    with atomic_path(path) as temporary:
        image.save(temporary, form, **options)


def with_gif_claims(gif: bytes, claims: Mapping[str, str]) -> bytes:
    """Return a GIF, version 89a, with the claims, which lie behind its header and its global colors."""
    colors = 3 * 2 ** ((gif[10] & 7) + 1) if gif[10] & 0x80 else 0
    place = 13 + colors
    return gif[:place] + _GIF_XMP + to_xmp(claims) + _GIF_TRAILER + gif[place:]


def read_claims(path: str | PathLike[str]) -> dict[str, str]:
    """Return what an image file from anyone claims of where it comes from; empty if it claims nothing.

    Pixels are not decoded. Raises :class:`~ganzoo.UserError` for what is no image, and for XMP that is out of bounds.
    """
    with ImageReader().opened(path) as image:
        form, packet = image.format, image.info.get("xmp") or image.info.get(XMP_KEY)
    if form == "GIF":  # of which Pillow reads no XMP
        with open_regular(path) as file:
            packet = _of_gif(file)
    packet = packet.encode() if isinstance(packet, str) else packet
    try:
        return from_xmp(packet) if isinstance(packet, bytes) and packet else {}
    except ValueError as error:
        raise UserError(f"{Path(path)} cannot be read: {error}") from None


def _of_gif(file: io.BufferedReader) -> bytes:
    start = file.read(2 * MOST)
    _, found, behind = start.partition(_GIF_XMP)
    return behind.partition(_GIF_TRAILER[:3])[0] if found else b""
