"""Reading the input images of a network: one image file, or all in a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ganzoo.errors import UserError
from ganzoo.fields import Image
from ganzoo.images.reading import MAX_PIXELS, ImageMode, ImageReader, find_images, tell_skipped
from ganzoo.terminal import print

__all__ = ["SETTING", "Sources", "image_reader"]

SETTING = "--max-pixels"
"""The option by which the user raises the limit on an image's pixels."""

_MODES: dict[int, ImageMode] = {1: "grey", 3: "rgb", 4: "rgba"}
_Read = TypeVar("_Read")


def image_reader(field: Image, background: str, max_pixels: int | None) -> ImageReader:
    """Return what reads images for a network's input; raises :class:`UserError` if no image has so many channels."""
    if field.channels not in _MODES:
        raise UserError(f"this model takes images of {field.channels} channels, which no image file has")
    return ImageReader(_MODES[field.channels], background, max_pixels or MAX_PIXELS, setting=f"{SETTING} N")


@dataclass(frozen=True)
class Sources:
    """The images that a command is given."""

    source: Path
    """An image, or a folder of images."""

    files: Sequence[Path]
    """The image, or those in the folder, sorted."""

    hidden: Sequence[str] = ()
    """Those in the folder that are not read, since a name begins with a dot; relative to it."""

    passed: Sequence[Path] = ()
    """Those in the folder that are not read, since they lie where results are written."""

    @classmethod
    def find(cls, source: Path, out: Path | None = None) -> Sources:
        """Find the images; those in ``out``, a folder in ``source``, are taken for results of an earlier call.

        Raises :class:`UserError` if there are none.
        """
        if not source.is_dir():
            if not source.exists():
                raise UserError(f"there is no image or folder {source}")
            return cls(source, [source])
        found, hidden = find_images(source)
        files = [source / file for file in found]
        if out is None or _lies_in(source, out):
            return cls(source, files, hidden)
        places = {folder: _lies_in(folder, out) for folder in {file.parent for file in files}}
        passed = [file for file in files if places[file.parent]]
        if len(passed) == len(files):
            raise UserError(f"there are no images in {source} but those in {out}, where results are written")
        return cls(source, [file for file in files if not places[file.parent]], hidden, passed)

    def refuse_overwriting(self, written: Iterable[Path], *others: Path) -> None:
        """Raise :class:`UserError` if a path that will be written is one of the images, or of ``others`` that are read.

        Whichever way it is named, through links too. Images that are not read are not overwritten either: nobody knows
        whether they are results, which can be made again.
        """
        read = {_identity(path) for path in (*self.files, *self.passed, *(self.source / each for each in self.hidden))}
        read.update(map(_identity, others))
        for path in written:
            identity = _identity(path)
            if identity is not None and identity in read:
                raise UserError(
                    f"{path} is one of the images that are given, and would be overwritten; write elsewhere"
                )

    def each(self, read: Callable[[Path], _Read], *, quiet: bool = False) -> Iterator[tuple[Path, _Read]]:
        """Yield each image with what ``read`` makes of it.

        Those of a folder that ``read`` refuses are skipped, and named in a warning of the logger ``ganzoo`` when the
        others are through; a single one is refused. How many are done is shown on stderr unless ``quiet``. Raises
        :class:`UserError` if all are refused.
        """
        if not self.source.is_dir():
            yield self.source, read(self.source)
            return
        problems: list[str] = []
        total = len(self.files)
        for number, file in enumerate(self.files, start=1):
            try:
                yield file, read(file)
            except UserError as error:  # of ``read``: what the caller does with the image is none of the generator's
                problems.append(str(error))
            if not quiet:
                print(f"{number} of {total}", end="\r" if number < total else "\n", file=sys.stderr, flush=True)
        tell_skipped(self.source, self.hidden, problems, total)


def _lies_in(folder: Path, other: Path) -> bool:
    return folder.resolve().is_relative_to(other.resolve())


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what all names of a file have in common; None if there is no such file."""
    try:
        # Resolved first: a folder/.. may be named whose folder is still to be made.
        found = os.stat(os.path.realpath(path))
    except OSError:
        return None
    return found.st_dev, found.st_ino
