"""Your own images: every image under a folder."""

import logging
import os
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from pathlib import Path, PurePath

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ganzoo import Attributes, Label, UserError
from ganzoo.files import read_csv
from ganzoo.images.reading import find_images, tell_skipped
from ganzoo_plugins.datasets.remembered import Names, recall, remember
from ganzoo_plugins.datasets.stored import ImagesConfig, StoredImages, attempted, same_size, sentence
from ganzoo_runtime.text import counted

__all__ = ["Folder", "FolderConfig", "classes_of", "form_of"]

_log = logging.getLogger("ganzoo")
_EXAMPLES = 16  # vectors of attributes that the spec shows
_TABLE = 2**30  # bytes of a table of attributes, which may be that of millions of images
_LARGEST = torch.finfo(torch.float32).max
_MANY = 1000  # images whose headers are read in the time that it takes to write an index


class FolderConfig(ImagesConfig):
    """Settings of :class:`Folder`."""

    path: Path = Field(description="folder with the images, in subfolders by class or not")
    labels: bool = Field(True, description="take subfolders as classes, where every image is in one of several")
    attributes: PurePath | None = Field(
        None,
        description="CSV file in the folder with numbers that describe every image, taken in place of the classes: "
        "a line of names, then lines of an image's path in the folder and its numbers",
    )


class Folder(StoredImages[FolderConfig]):
    """Images under a folder: png, jpg, jpeg, webp, bmp, gif and tiff, at any depth; the first frame.

    Fields: ``x`` uint8 [N, C, H, W] in 0 .. 255; C is 3 (RGB), 1 or 4 (RGBA). Where every image lies in one of several
    subfolders of ``path`` also ``y`` int64 [N]: the subfolders are the classes, in the order of their names. Samples
    are in the order of their paths (``files``), names that begin with a dot are left out, symbolic links are followed.
    With the setting ``attributes``, ``y`` is float32 [N, dim] instead: the numbers of a table in the folder, as they
    are. Its first line names the columns; the first column is the image's path in the folder, with forward slashes.

    They are read as :class:`ganzoo.ImageReader` says. What cannot be read or is hidden is left out and named in a
    warning of the logger ``ganzoo``; ``skipped`` counts these. Below the setting ``memory`` all images are decoded at
    once. Otherwise only their headers are read here, which are remembered in the cache folder: what has the same size
    and time of change as before is not read again. An image whose pixels turn out to be broken when they are fetched is
    replaced by another one anywhere in the folder, always the same; a warning names it once.
    """

    def __init__(self, config: FolderConfig) -> None:
        self.config = config
        self.root = Path(os.path.abspath(config.path.expanduser()))
        self.place = str(self.root)
        self._reader = config.reader()
        files, hidden = find_images(self.root)
        found, problems = len(files), list[str]()
        numbers: dict[str, list[float]] = {}
        if config.attributes is not None:
            names, lines = _read_table(self.root, config.attributes)
            numbers = {file: lines[form] for file in files if (form := form_of(file, lines.__contains__)) in lines}
            missing = [file for file in files if file not in numbers]
            if missing:
                others = f" and {len(missing) - 1:,} more images" if len(missing) > 1 else ""
                raise UserError(f"{self.root / config.attributes} has no line for {missing[0]}{others}")
        else:
            names = classes_of(self.root, files) if config.labels else ()
        sizes, lengths = self._measured(files, problems)
        files = [file for file, size in zip(files, sizes[:, 0], strict=True) if size]
        sizes, lengths = sizes[sizes[:, 0] > 0], lengths[sizes[:, 0] > 0]
        self._names = Names(files)
        kept = self.hold(len(files), same_size(config, sizes, files.__getitem__, self.place), problems)
        self.lengths = lengths[kept]
        if len(kept) < len(files):
            files = [files[index] for index in kept]
            self._names = Names(files)
        tell_skipped(self.root, hidden, problems, found)
        self.skipped = len(hidden) + len(problems)
        field: Label | Attributes | None = None
        y: Tensor | None = None
        if config.attributes is not None:
            y = torch.tensor([numbers[file] for file in files])
            rows = torch.linspace(0, len(files) - 1, min(_EXAMPLES, len(files))).long()
            field = Attributes(len(names), names, tuple(tuple(row) for row in y[rows].tolist()))
        elif names:
            number = {name: index for index, name in enumerate(names)}
            y = torch.tensor([number[file.split(os.sep)[0]] for file in files])
            field = Label(len(names), names)
        self.describe("folder", len(files), field, y)

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the images in the folder."""
        return tuple(self._names)

    def source(self, index: int) -> Path:
        return self.root / self._names[index]

    def called(self, index: int) -> str:
        return str(self.root / self._names[index])

    def _measure(self, path: Path) -> tuple[int, int]:
        """Return the height and width of what is taken of a file."""
        return self._reader.size(path)

    def _measured(self, files: list[str], problems: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return height and width of what is taken of each file, int32 [N, 2] (0 if it cannot be read), and its length.

        Of files that are as they were, the cache folder knows it. The ``problems`` are not remembered: such a file may
        be readable the next time.
        """
        key = (type(self).__name__, self.root, self.config.max_pixels)
        sizes, stamps = np.zeros((len(files), 2), np.int32), np.zeros((len(files), 2), np.int64)
        prefix = f"{self.root}{os.sep}"
        for index, file in enumerate(files):
            try:
                status = os.stat(prefix + file)
            except (OSError, ValueError):  # what it is, reading it will say
                continue
            stamps[index] = status.st_size, status.st_mtime_ns
        if before := recall("folder", *key):
            with suppress(KeyError, IndexError, ValueError):  # it is damaged
                rows = {name: row for row, name in enumerate(Names.of(before["names"], before["ends"]))}
                place = np.array([rows.get(file, -1) for file in files])
                same = (place >= 0) & (before["stamps"][place] == stamps).all(axis=1)
                sizes[same] = before["sizes"][place[same]]
        unknown = np.flatnonzero(sizes[:, 0] == 0).tolist()
        measured = attempted(lambda index: self._measure(self.root / files[index]), unknown)
        for index, size in zip(unknown, measured, strict=True):
            if isinstance(size, Exception):
                problems.append(sentence(str(self.root / files[index]), size))
            else:
                sizes[index] = size
        if len(unknown) - len(problems) >= _MANY:
            names = Names(files)
            remember({"names": names.bytes, "ends": names.ends, "stamps": stamps, "sizes": sizes}, "folder", *key)
        return sizes, stamps[:, 0]


def form_of(name: str, there: Callable[[str], bool]) -> str:
    """Return the name of a file as it is ``there``, or as it is if it is not.

    File systems and tables differ on whether an accent is a character of its own.
    """
    forms = (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
    return next(filter(there, forms), name)


def classes_of(root: Path, files: list[str]) -> tuple[str, ...]:
    """Return the names of the top folders, sorted, or nothing if some file is in none or all are in one."""
    folders = {file.split(os.sep)[0] for file in files if os.sep in file}
    beside = [file for file in files if os.sep not in file]
    if len(folders) < 2:
        return ()
    if beside:
        others = f" and {len(beside) - 1:,} more lie" if len(beside) > 1 else " lies"
        _log.warning(
            "there are no classes, because in %s %s%s beside the folders %s; move what lies there into one of them, or "
            "say with --set data.labels=false that they are no classes",
            root,
            beside[0],
            others,
            ", ".join(sorted(folders)[:8]) + (" ..." if len(folders) > 8 else ""),
        )
        return ()
    return tuple(sorted(folders))


def _read_table(root: Path, table: PurePath) -> tuple[tuple[str, ...], dict[str, list[float]]]:
    """Return the names of the attributes, and their numbers by the path of the image, of a CSV file in ``root``."""
    path = root / table
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"the table of attributes {table} is not in {root}; give its path in that folder")

    def wrong(line: int, problem: str) -> UserError:
        return UserError(f"line {line} of {path}: {problem}")

    numbers: dict[str, list[float]] = {}
    rows = read_csv(path, _TABLE)
    line, first = next(rows, (1, [""]))
    _, *header = [name.strip() for name in first]
    if not header or "" in header or len(set(header)) < len(header):
        raise wrong(line, "it names the columns: the image, and then each attribute by a name of its own")
    for line, row in rows:
        if len(row) != len(header) + 1:
            raise wrong(line, f"it has {counted(len(row), 'column')}, the first line {len(header) + 1}")
        image = os.path.normpath(row[0].strip())
        if image in numbers:
            raise wrong(line, f"{image} is there a second time")
        numbers[image] = []
        for name, text in zip(header, row[1:], strict=True):
            try:
                value = float(text)
            except ValueError:
                value = float("nan")
            if not isfinite(value) or abs(value) > _LARGEST:
                raise wrong(line, f"{name} is {text.strip()!r}, which is not a number to learn from")
            numbers[image].append(value)
    return tuple(header), numbers
