"""Reading the input images of a network: one image file, or all in a folder."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ganzoo.errors import UserError
from ganzoo.fields import Image
from ganzoo.images.reading import MAX_PIXELS, ImageMode, ImageReader, find_images, tell_skipped
from ganzoo.terminal import print

__all__ = ["SETTING", "each_image", "image_reader"]

SETTING = "--max-pixels"
"""The option by which the user raises the limit on an image's pixels."""

_MODES: dict[int, ImageMode] = {1: "grey", 3: "rgb", 4: "rgba"}
_Read = TypeVar("_Read")


def image_reader(field: Image, background: str, max_pixels: int | None) -> ImageReader:
    """Return what reads images for a network's input; raises :class:`UserError` if no image has so many channels."""
    if field.channels not in _MODES:
        raise UserError(f"this model takes images of {field.channels} channels, which no image file has")
    return ImageReader(_MODES[field.channels], background, max_pixels or MAX_PIXELS, setting=f"{SETTING} N")


def each_image(source: Path, read: Callable[[Path], _Read], *, quiet: bool = False) -> Iterator[tuple[Path, _Read]]:
    """Yield the image ``source`` or each in that folder, sorted, with what ``read`` makes of it.

    Those of a folder that ``read`` refuses are skipped, and named in a warning of the logger ``ganzoo`` when the others
    are through; a single one is refused. How many are done is shown on stderr unless ``quiet``. Raises
    :class:`UserError` if there are none, or if all are refused.
    """
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
        if not quiet:
            print(f"{number} of {len(files)}", end="\r" if number < len(files) else "\n", file=sys.stderr, flush=True)
    tell_skipped(source, hidden, problems, len(files))
