"""What the commands that take images have in common: their options, and how a folder is gone through."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ganzoo.errors import UserError
from ganzoo.terminal import print

if TYPE_CHECKING:
    from ganzoo.fields import Image
    from ganzoo.images.reading import ImageReader

__all__ = ["MAX_PIXELS", "Background", "MaxPixels", "Source", "each_image", "image_reader"]

MAX_PIXELS = "--max-pixels"
Source = Annotated[Path, typer.Argument(metavar="IN", help="An image, or a folder of images.")]
Background = Annotated[
    str,
    typer.Option(help="The color that transparent pixels are laid on, as a name or #RRGGBB; not with RGBA models."),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        MAX_PIXELS,
        min=1,
        help="Images of up to so many pixels are taken; by default 134 million, or 17 million if the network needs all "
        "of a large image at once.",
    ),
]
_Read = TypeVar("_Read")


def image_reader(field: Image, background: str, max_pixels: int | None) -> ImageReader:
    """Return what reads images for a network's input; raises :class:`UserError` if no image has so many channels."""
    from ganzoo.images.reading import MAX_PIXELS as USUAL
    from ganzoo.images.reading import ImageMode, ImageReader

    modes: dict[int, ImageMode] = {1: "grey", 3: "rgb", 4: "rgba"}
    if field.channels not in modes:
        raise UserError(f"this model takes images of {field.channels} channels, which no image file has")
    return ImageReader(modes[field.channels], background, max_pixels or USUAL, setting=f"{MAX_PIXELS} N")


def each_image(source: Path, read: Callable[[Path], _Read]) -> Iterator[tuple[Path, _Read]]:
    """Yield the image ``source`` or each in that folder, sorted, with what ``read`` makes of it.

    Those of a folder that ``read`` refuses are skipped, and named when the others are through; a single one is refused.
    Raises :class:`UserError` if there are none, or if all are refused.
    """
    from ganzoo.images.reading import find_images, tell_skipped

    if not source.is_dir():
        if not source.exists():
            raise UserError(f"there is no image or folder {source}")
        yield source, read(source)
        return
    files, hidden = find_images(source)
    problems: list[str] = []
    for number, file in enumerate(files, start=1):
        try:
            yield source / file, read(source / file)
        except UserError as error:  # of ``read``: what the caller does with the image is none of the generator's
            problems.append(str(error))
        print(f"{number} of {len(files)}", end="\r" if number < len(files) else "\n", file=sys.stderr, flush=True)
    tell_skipped(source, hidden, problems, len(files))
