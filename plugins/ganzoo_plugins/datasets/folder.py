"""Your own images: every picture under a folder."""

import csv
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import isfinite, prod
from pathlib import Path, PurePath
from typing import Annotated, Literal, TypeVar

import numpy as np
import PIL.Image
import torch
from pydantic import ByteSize, Field
from torch import Tensor

from ganzoo import Attributes, Batch, Dataset, DatasetConfig, DataSpec, Image, Label, UserError

_log = logging.getLogger("ganzoo")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
_TRIES = 16  # images in a row that fail before a lazy fetch gives up: then it is the disk and not the images
_AT_ONCE = 1024  # images that wait for a thread; a queue of all the files would itself fill memory
_EXAMPLES = 16  # vectors of attributes that the spec shows
_LARGEST = torch.finfo(torch.float32).max
_ORIENTATION = 0x0112  # the EXIF tag, and how to undo its values
_UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
_Result = TypeVar("_Result")
Side = Annotated[int, Field(ge=1, le=16384)]


class Folder(Dataset):
    """Images under a folder: png, jpg, jpeg, webp, bmp, gif and tiff, at any depth; the first frame.

    Fields: ``x`` uint8 [N, C, H, W] in 0 .. 255; C is 3 (RGB) or 1. Where every image lies in one of several
    subfolders of ``path`` also ``y`` int64 [N]: the subfolders are the classes, in the order of their names. Samples
    are in the order of their paths (``files``), names that begin with a dot are left out, symbolic links are followed.
    With the setting ``attributes``, ``y`` is float32 [N, dim] instead: the numbers of a table in the folder, as they
    are. Its first line names the columns; the first column is the image's path in the folder, with forward slashes.

    A camera's rotation mark is obeyed and transparency laid on white. An image that cannot be read is named in a
    warning of the logger ``ganzoo`` and left out; ``skipped`` counts these. Below the setting ``memory`` all images
    are decoded at once. Otherwise only their headers are read here, and pixels that turn out to be broken when they
    are fetched are replaced by the next image that can be read, again with a warning.
    """

    class Config(DatasetConfig):
        """The settings of :class:`Folder`."""

        path: Path = Field(description="folder with the images, in subfolders by class or not")
        mode: Literal["rgb", "grey"] = Field("rgb", description="what the images are turned into")
        size: Side | tuple[Side, Side] | None = Field(
            None, description="side, or [height, width], to resize to; if unset, all images must have one size"
        )
        resize: Literal["crop", "stretch"] = Field(
            "crop", description="crop: scale until the size is filled and cut the centre; stretch: ignore proportions"
        )
        labels: bool = Field(True, description="take subfolders as classes, where every image is in one of several")
        attributes: PurePath | None = Field(
            None,
            description="CSV file in the folder with numbers that describe every image, taken in place of the classes: "
            "a line of names, then lines of an image's path in the folder and its numbers",
        )
        flip: bool = Field(False, description="mirror half of the samples, left to right, drawn anew each time")
        memory: ByteSize = Field(
            ByteSize(1 << 30),
            ge=0,
            description='bytes of pixels ("2GiB" will do) up to which the images are held in memory and not read anew',
        )

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Path(os.path.abspath(config.path.expanduser()))
        self.skipped = 0
        files = _find(self.root)
        numbers: dict[str, list[float]] = {}
        if config.attributes is not None:
            names, numbers = _read_table(self.root, config.attributes)
            missing = [file for file in files if file not in numbers]
            if missing:
                others = f" and {len(missing) - 1:,} more images" if len(missing) > 1 else ""
                raise UserError(f"{self.root / config.attributes} has no line for {missing[0]}{others}")
        else:
            names = _classes(files) if config.labels else ()
        with _strict_pillow():
            sizes = dict(self._each(self._measure, files))
            height, width = self._size(sizes)
            self._shape = (3 if config.mode == "rgb" else 1, height, width)
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
        if not files:
            raise UserError(f"none of the images in {self.root} can be read ({self.skipped} were tried)")
        self.files = tuple(files)
        described: tuple[Label | Attributes, ...] = ()
        self._y: Tensor | None = None
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
            with _strict_pillow():
                pairs = [self._fetch(index) for index in indices.tolist()]
            images = torch.from_numpy(np.stack([pixels for _, pixels in pairs]))
            indices = torch.tensor([index for index, _ in pairs])
        else:
            images = self._images.index_select(0, indices)
        if self.config.flip:
            flipped = torch.rand(len(images), generator=rng) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return {"x": images} if self._y is None else {"x": images, "y": self._y[indices]}

    def _fetch(self, wanted: int) -> tuple[int, np.ndarray]:
        """Return the image of that number, or the next that can be decoded, and its number."""
        for index in range(wanted, wanted + min(_TRIES, len(self.files))):
            file = self.files[index % len(self.files)]
            try:
                return index % len(self.files), self._decode(self.root / file)
            except Exception as error:
                _log.warning("%s is replaced by the next image: %s", self.root / file, _reason(error))
        raise UserError(f"{self.root / self.files[wanted]} and the images after it can no longer be read")

    def _decode(self, path: Path) -> np.ndarray:
        """Return the pixels, uint8 [C, H, W]."""
        channels, height, width = self._shape
        with PIL.Image.open(path, formats=_FORMATS) as file:
            file.load()
            image = self._part(_plain(file, "RGB" if channels == 3 else "L"))
        if image.size != (width, height):
            if self.config.size is None:
                raise ValueError(f"it is {image.width} x {image.height}, not {width} x {height}")
            box = None if self.config.resize == "stretch" else _centre(image.size, width / height)
            image = image.resize((width, height), PIL.Image.Resampling.LANCZOS, box=box)
        return np.array(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)

    def _measure(self, path: Path) -> tuple[int, int]:
        """Return the height and width of what is taken of a file."""
        return _upright_size(path)

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
            except Exception as error:  # Pillow fails with whatever its decoders stumble over in a broken file
                return error

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(files), _AT_ONCE):
                some = files[start : start + _AT_ONCE]
                for file, result in zip(some, pool.map(attempt, some), strict=True):
                    if isinstance(result, Exception):
                        self.skipped += 1
                        _log.warning("%s is skipped: %s", self.root / file, _reason(result))
                    else:
                        yield file, result


def _find(root: Path) -> list[str]:
    """Return the paths of the images under ``root``, relative to it, sorted by their parts."""
    if not root.is_dir():
        raise UserError(f"{root} {'is not a folder' if root.exists() else 'does not exist'}")

    def walk(folder: Path, above: Sequence[str]) -> Iterator[tuple[str, ...]]:
        real = os.path.realpath(folder)
        if real in above:  # a symbolic link to a folder that it lies in
            return
        for entry in os.scandir(folder):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                for parts in walk(folder / entry.name, (*above, real)):
                    yield (entry.name, *parts)
            elif entry.name.lower().endswith(_SUFFIXES) and (entry.is_file() or entry.is_symlink()):
                yield (entry.name,)

    try:
        found = sorted(walk(root, ()))
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    if not found:
        raise UserError(f"there are no images ({', '.join(suffix[1:] for suffix in _SUFFIXES)}) in {root}")
    return [os.sep.join(parts) for parts in found]


def _classes(files: list[str]) -> tuple[str, ...]:
    """Return the names of the top folders, sorted, or nothing if some file is in none or all are in one."""
    names = {file.split(os.sep)[0] if os.sep in file else "" for file in files}
    return () if "" in names or len(names) < 2 else tuple(sorted(names))


def _read_table(root: Path, table: PurePath) -> tuple[tuple[str, ...], dict[str, list[float]]]:
    """Return the names of the attributes, and their numbers by the path of the image, of a CSV file in ``root``."""
    path = root / table
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"the table of attributes {table} is not in {root}; give its path in that folder")

    def wrong(line: int, problem: str) -> UserError:
        return UserError(f"line {line} of {path}: {problem}")

    numbers: dict[str, list[float]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            _, *header = [name.strip() for name in next(rows, [""])]
            if not header or "" in header or len(set(header)) < len(header):
                raise wrong(1, "it names the columns: the image, and then each attribute by a name of its own")
            for row in rows:
                if not row:
                    continue
                if len(row) != len(header) + 1:
                    raise wrong(rows.line_num, f"it has {len(row)} columns, the first line {len(header) + 1}")
                image = os.path.normpath(row[0].strip())
                if image in numbers:
                    raise wrong(rows.line_num, f"{image} is there a second time")
                numbers[image] = []
                for name, text in zip(header, row[1:], strict=True):
                    try:
                        value = float(text)
                    except ValueError:
                        value = float("nan")
                    if not isfinite(value) or abs(value) > _LARGEST:
                        raise wrong(rows.line_num, f"{name} is {text.strip()!r}, which is not a number to learn from")
                    numbers[image].append(value)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"the table of attributes {path} cannot be read: {reason}") from error
    return tuple(header), numbers


def _upright_size(path: Path) -> tuple[int, int]:
    """Return the height and width of the upright image; reads the header alone."""
    with PIL.Image.open(path, formats=_FORMATS) as image:
        # Pillow decodes a whole PNG to look for a mark behind the pixels; there, nobody writes it.
        marked = image.format != "PNG" or "exif" in image.info
        sideways = marked and _orientation(image) >= 5
        return image.size if sideways else image.size[::-1]


def _orientation(image: PIL.Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF data, which says nothing about the pixels
        return 1


def _plain(image: PIL.Image.Image, mode: Literal["RGB", "L"]) -> PIL.Image.Image:
    """Return a loaded image upright, in 8 bits, on white."""
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode.startswith("I;16"):
        image = PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits, and no known range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    image = image.convert(mode)
    return image if turn is None else image.transpose(turn)


def _centre(size: tuple[int, int], proportion: float) -> tuple[float, float, float, float]:
    """Return the largest box (left, upper, right, lower) of that width : height in the middle of the image."""
    width, height = size
    cut_width, cut_height = min(width, height * proportion), min(height, width / proportion)
    left, upper = (width - cut_width) / 2, (height - cut_height) / 2
    return left, upper, width - left, height - upper


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Make Pillow's warning of a decompression bomb an error, and drop its other warnings on odd files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        yield


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
