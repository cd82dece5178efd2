"""Your own images: every image under a folder."""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import isfinite, prod
from pathlib import Path, PurePath
from typing import Annotated, Literal, TypeVar

import numpy as np
import PIL.Image
import torch
from pydantic import AfterValidator, ByteSize, Field
from torch import Tensor

from ganzoo import Attributes, Batch, Dataset, DatasetConfig, DataSpec, Image, ImageReader, Label, UserError
from ganzoo.files import read_csv
from ganzoo.images.reading import COLOR, MAX_PIXELS, find_images, resized, tell_skipped

_log = logging.getLogger("ganzoo")
_TRIES = 256  # images that fail one after another before a lazy fetch gives up: then it is the disk and not the images
_NAMED = 8  # broken images that a lazy folder names
_AT_ONCE = 1024  # images that wait for a thread; a queue of all the files would itself fill memory
_EXAMPLES = 16  # vectors of attributes that the spec shows
_TABLE = 2**30  # bytes of a table of attributes, which may be that of millions of images
_LARGEST = torch.finfo(torch.float32).max
_Result = TypeVar("_Result")
Side = Annotated[int, Field(ge=1, le=16384)]


def _color(text: str) -> str:
    try:
        ImageReader(background=text)
    except UserError:
        raise ValueError(COLOR) from None  # pydantic says beside it what was given
    return text


class ImagesConfig(DatasetConfig):
    """How images of one's own are read."""

    mode: Literal["rgb", "grey", "rgba"] = Field(
        "rgb", description="what the images are turned into; rgba keeps their transparency as a fourth channel"
    )
    background: Annotated[str, AfterValidator(_color)] = Field(
        "white", description="color that transparent pixels are laid on, as a name or #RRGGBB; not with rgba"
    )
    size: Side | tuple[Side, Side] | None = Field(
        None, description="side, or [height, width], to resize to; if unset, all images must have one size"
    )
    resize: Literal["crop", "stretch"] = Field(
        "crop", description="crop: scale until the size is filled and cut the center; stretch: ignore proportions"
    )
    flip: bool = Field(False, description="mirror half of the samples, left to right, drawn anew each time")
    memory: ByteSize = Field(
        ByteSize(1 << 30),
        ge=0,
        description='bytes of pixels ("2GiB" will do) up to which a folder is held in memory and not read anew',
    )
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, description="images of more pixels than this are skipped, before they are decoded"
    )

    def reader(self) -> ImageReader:
        """Return what reads the images."""
        return ImageReader(self.mode, self.background, self.max_pixels, setting="--set data.max_pixels=...")


class FolderConfig(ImagesConfig):
    """Settings of :class:`Folder`."""

    path: Path = Field(description="folder with the images, in subfolders by class or not")
    labels: bool = Field(True, description="take subfolders as classes, where every image is in one of several")
    attributes: PurePath | None = Field(
        None,
        description="CSV file in the folder with numbers that describe every image, taken in place of the classes: "
        "a line of names, then lines of an image's path in the folder and its numbers",
    )


class Folder(Dataset[FolderConfig]):
    """Images under a folder: png, jpg, jpeg, webp, bmp, gif and tiff, at any depth; the first frame.

    Fields: ``x`` uint8 [N, C, H, W] in 0 .. 255; C is 3 (RGB), 1 or 4 (RGBA). Where every image lies in one of several
    subfolders of ``path`` also ``y`` int64 [N]: the subfolders are the classes, in the order of their names. Samples
    are in the order of their paths (``files``), names that begin with a dot are left out, symbolic links are followed.
    With the setting ``attributes``, ``y`` is float32 [N, dim] instead: the numbers of a table in the folder, as they
    are. Its first line names the columns; the first column is the image's path in the folder, with forward slashes.

    They are read as :class:`ganzoo.ImageReader` says. What cannot be read or is hidden is left out and named in a
    warning of the logger ``ganzoo``; ``skipped`` counts these. Below the setting ``memory`` all images are decoded at
    once. Otherwise only their headers are read here, and an image whose pixels turn out to be broken when they are
    fetched is replaced by another one anywhere in the folder, always the same; a warning names it once.
    """

    def __init__(self, config: FolderConfig) -> None:
        self.config = config
        self.root = Path(os.path.abspath(config.path.expanduser()))
        self._reader = config.reader()
        files, hidden = find_images(self.root)
        found, self._problems = len(files), list[str]()
        numbers: dict[str, list[float]] = {}
        if config.attributes is not None:
            names, numbers = _read_table(self.root, config.attributes)
            missing = [file for file in files if file not in numbers]
            if missing:
                others = f" and {len(missing) - 1:,} more images" if len(missing) > 1 else ""
                raise UserError(f"{self.root / config.attributes} has no line for {missing[0]}{others}")
        else:
            names = _classes(self.root, files) if config.labels else ()
        sizes = dict(self._each(self._measure, files))
        height, width = self._size(sizes)
        self._shape = (self._reader.channels, height, width)
        files = list(sizes)
        self.in_memory = len(files) * prod(self._shape) <= config.memory
        self._images: Tensor | None = None
        if self.in_memory:
            images = np.empty((len(files), *self._shape), np.uint8)
            decoded: list[str] = []
            for file, pixels in self._each(self._decode, files):
                images[len(decoded)] = pixels
                decoded.append(file)
            self._images, files = torch.from_numpy(images[: len(decoded)]), decoded
        tell_skipped(self.root, hidden, self._problems, found)
        self.skipped = len(hidden) + len(self._problems)
        self.files = tuple(files)
        described: tuple[Label | Attributes, ...] = ()
        self._y: Tensor | None = None
        self._broken = set[int]()
        if config.attributes is not None:
            self._y = torch.tensor([numbers[file] for file in files])
            rows = torch.linspace(0, len(files) - 1, min(_EXAMPLES, len(files))).long()
            described = (Attributes(len(names), names, tuple(tuple(row) for row in self._y[rows].tolist())),)
        elif names:
            number = {name: index for index, name in enumerate(names)}
            self._y = torch.tensor([number[file.split(os.sep)[0]] for file in files])
            described = (Label(len(names), names),)
        self.spec = DataSpec("folder", (Image(*self._shape, range=(0, 255)), *described), len(files))

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Gather or decode the images; with ``flip``, half of them are mirrored."""
        if self._images is None:
            pairs = [self._fetch(index) for index in indices.tolist()]
            images = torch.from_numpy(np.stack([pixels for _, pixels in pairs]))
            indices = torch.tensor([index for index, _ in pairs])
        else:
            images = self._images.index_select(0, indices)
        if self.config.flip:
            flipped = torch.rand(len(images), generator=rng) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return {"x": images} if self._y is None else {"x": images, "y": self._y[indices]}

    @property
    def rows(self) -> Batch | None:
        """The images and what describes them, if they are in memory and not mirrored."""
        if self._images is None or self.config.flip:
            return None
        return {"x": self._images} if self._y is None else {"x": self._images, "y": self._y}

    def _fetch(self, wanted: int) -> tuple[int, np.ndarray]:
        """Return the image of that number, or another one if its pixels are broken, and its number."""
        for index in self._instead(wanted):
            if index in self._broken:
                continue
            try:
                return index, self._decode(self.root / self.files[index])
            except Exception as error:  # of one file, whatever it is
                self._broken.add(index)
                if len(self._broken) <= _NAMED:
                    _log.warning("%s; another image takes its place", _sentence(self.root / self.files[index], error))
                elif len(self._broken) == _NAMED + 1:
                    _log.warning("more images in %s cannot be read, which are not named", self.root)
        raise UserError(
            f"{_TRIES} images in {self.root} could not be read one after another; see that the disk is there and the "
            "images are whole"
        )

    def _instead(self, wanted: int) -> Iterator[int]:
        """Yield the number itself, and then others that it decides, so that a resumed training sees the same."""
        yield wanted
        others = np.random.Generator(np.random.Philox(wanted))
        for _ in range(_TRIES):
            yield int(others.integers(len(self.files)))

    def _decode(self, path: Path) -> np.ndarray:
        """Return the pixels, uint8 [C, H, W]."""
        channels, height, width = self._shape
        image = self._part(self._reader.read(path))
        if self.config.size is None and image.size != (width, height):
            raise UserError(f"{path} is {image.width} x {image.height}, not {width} x {height}")
        image = resized(image, height, width, self.config.resize)
        return np.array(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)

    def _measure(self, path: Path) -> tuple[int, int]:
        """Return the height and width of what is taken of a file."""
        return self._reader.size(path)

    def _part(self, image: PIL.Image.Image) -> PIL.Image.Image:
        """Return what is taken of an image."""
        return image

    def _size(self, sizes: dict[str, tuple[int, int]]) -> tuple[int, int]:
        """Return the height and width that every image gets."""
        if isinstance(self.config.size, int):
            return self.config.size, self.config.size
        if self.config.size is not None:
            return self.config.size
        first: dict[tuple[int, int], str] = {}
        for file, size in sizes.items():
            first.setdefault(size, file)
        if len(first) > 1:
            (one, a), (two, b), *_ = first.items()
            raise UserError(
                f"the images in {self.root} have different sizes ({a} is {one[0]} high and {one[1]} wide, {b} {two[0]} "
                f"and {two[1]}); resize them with --set data.size=64 or --set data.size=[HEIGHT,WIDTH]"
            )
        return next(iter(first), (1, 1))

    def _each(self, work: Callable[[Path], _Result], files: list[str]) -> Iterator[tuple[str, _Result]]:
        """Yield each file with what ``work`` makes of it, in order; files that it fails on are skipped."""

        def attempt(file: str) -> _Result | Exception:
            try:
                return work(self.root / file)
            except Exception as error:  # of one file, whatever it is
                return error

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(files), _AT_ONCE):
                some = files[start : start + _AT_ONCE]
                for file, result in zip(some, pool.map(attempt, some), strict=True):
                    if isinstance(result, Exception):
                        self._problems.append(_sentence(self.root / file, result))
                    else:
                        yield file, result


def _classes(root: Path, files: list[str]) -> tuple[str, ...]:
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
            raise wrong(line, f"it has {len(row)} columns, the first line {len(header) + 1}")
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


def _sentence(path: Path, error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    return f"{path} cannot be read: {' '.join(str(error).split()) or type(error).__name__}"
