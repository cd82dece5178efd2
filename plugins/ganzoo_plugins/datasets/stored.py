"""What data sets of encoded images have in common, wherever their bytes lie."""

import logging
import os
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, ByteSize, Field
from torch import Tensor

from ganzoo import Attributes, Batch, Dataset, DatasetConfig, DataSpec, Image, ImageReader, Label, UserError
from ganzoo.images.reading import COLOR, MAX_PIXELS, resized

__all__ = ["ImagesConfig", "StoredImages", "UnreachableError", "attempted", "labels_of", "same_size", "sentence"]

_log = logging.getLogger("ganzoo")
_TRIES = 256  # images that fail one after another before a lazy fetch gives up: then it is the disk and not the images
_DAMAGED = 16  # images of one file that fail, with hardly any that do not: then it is the file and not the images
_NAMED = 8  # broken images that are named while they are fetched
_AT_ONCE = 1024  # images that wait for a thread; a queue of all the files would itself fill memory
_SPREAD = 64  # images whose bytes stand for those of all, where they are not held in memory
_PORTION = 16  # images that a thread takes at a time: each by itself, handing them over would take as long
_CLASSES = 1000  # as many as there may be even if there are fewer samples
_Result = TypeVar("_Result")
Side = Annotated[int, Field(ge=1, le=16384)]


def _color(text: str) -> str:
    try:
        ImageReader(background=text)
    except UserError:
        raise ValueError(COLOR) from None  # pydantic says beside it what was given
    return text


class UnreachableError(UserError):
    """Many images cannot be read now: the training ends, and none takes their place, so that it can be resumed."""


@dataclass
class _Tally:
    """How many images of a file could be decoded, and how many not."""

    whole: int = 0
    broken: int = 0
    fault: str = ""  # of one that could not

    def check(self, file: str) -> None:
        """Raise :class:`UserError` if hardly any could, of a file that has a name."""
        if file and self.broken >= max(_DAMAGED, 8 * self.whole):
            of = f"{self.broken:,} of the first {self.broken + self.whole:,} images that were read from it are broken"
            raise UserError(f"{file} is damaged: {of} ({self.fault}); get it once more, or leave it out of data.path")


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
        description='bytes of pixels ("2GiB" will do) up to which all images are held in memory and not read anew',
    )
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, description="images of more pixels than this are skipped, before they are decoded"
    )

    def reader(self) -> ImageReader:
        """Return what reads the images."""
        return ImageReader(self.mode, self.background, self.max_pixels, setting="--set data.max_pixels=...")


Settings = TypeVar("Settings", bound=ImagesConfig, covariant=True)


class StoredImages(Dataset[Settings]):
    """Images whose encoded bytes lie somewhere: all are decoded when it is made, or each when it is fetched.

    A subclass sets ``config`` and ``place``, what sentences call where the images lie, and says by :meth:`source` and
    :meth:`called` what the image of a number is. It calls :meth:`hold` and then :meth:`describe`; below the setting
    ``memory``, all images are decoded in the first. Otherwise an image whose pixels turn out to be broken when it is
    fetched is replaced by another one, always the same; a warning names it once. A file of many images
    (:meth:`file_of`) of which nearly all turn out to be broken ends a training.
    """

    place: str
    lengths: NDArray[np.int64] = np.empty(0, np.int64)
    """The bytes of each encoded image, where they are known without reading it."""

    @abstractmethod
    def source(self, index: int) -> Path | bytes:
        """Return the file of the image of that number, or its bytes."""

    @abstractmethod
    def called(self, index: int) -> str:
        """Return what sentences call the image of that number."""

    def file_of(self, index: int) -> str:
        """Return what sentences call the file that the image shares with others; nothing if it has one of its own."""
        return ""

    def hold(self, count: int, size: tuple[int, int], problems: list[str]) -> NDArray[np.int64]:
        """Decode so many images to the height and width if they fit into memory; return the numbers of those to use.

        Of what cannot be decoded a sentence is added to the ``problems``. Raises :class:`UserError` if that is nearly
        all of a file.
        """
        self._reader = self.config.reader()
        self._shape = (self._reader.channels, *size)
        self._broken = set[int]()
        self._tallies = defaultdict[str, _Tally](_Tally)
        self._images: Tensor | None = None
        self.in_memory = count * prod(self._shape) <= self.config.memory
        if not self.in_memory:
            return np.arange(count)
        images, decoded = np.empty((count, *self._shape), np.uint8), list[int]()
        for index, found in enumerate(attempted(self._decode, range(count))):
            tally = self._tallies[self.file_of(index)]
            if isinstance(found, UnreachableError):
                raise found
            if isinstance(found, Exception):
                problems.append(sentence(self.called(index), found))
                tally.broken += 1
                tally.fault = problems[-1]
            else:
                tally.whole += 1
                images[len(decoded)] = found
                decoded.append(index)
        self._images = torch.from_numpy(images[: len(decoded)])
        for file, tally in self._tallies.items():
            tally.check(file)
        return np.array(decoded, np.int64)

    def describe(self, name: str, count: int, field: Label | Attributes | None, y: Tensor | None) -> None:
        """Set the spec: so many images, and what describes them if there is anything."""
        self._y = y
        fields = (Image(*self._shape, range=(0, 255)), *(() if field is None else (field,)))
        self.spec = DataSpec(name, fields, count)

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
        return {"x": self._images, **self.known}

    @property
    def known(self) -> Batch:
        """The classes or attributes of all images, which are not read for it."""
        return {} if self._y is None else {"y": self._y}

    def content(self) -> Iterator[Tensor | bytes]:
        """Yield how long the encoded images are and what describes them, and their bytes; of many, those of some."""
        yield self.lengths.tobytes()
        if self._y is not None:
            yield self._y
        count = len(self)
        for found in attempted(self._encoded, range(count) if self.in_memory else self.stand_ins(min(_SPREAD, count))):
            if isinstance(found, UnreachableError):
                raise found
            yield found if isinstance(found, bytes) else b""  # as fetching it will say

    def stand_ins(self, n: int) -> Sequence[int]:
        """Return the numbers of ``n`` images whose bytes stand for those of all."""
        return np.linspace(0, len(self) - 1, n).astype(int).tolist()

    def _encoded(self, index: int) -> bytes:
        source = self.source(index)
        return source if isinstance(source, bytes) else source.read_bytes()

    def _fetch(self, wanted: int) -> tuple[int, NDArray[np.uint8]]:
        """Return the image of that number, or another one if its pixels are broken, and its number."""
        for index in self._instead(wanted):
            if index in self._broken:
                continue
            tally = self._tallies[file := self.file_of(index)]
            try:
                pixels = self._decode(index)
            except UnreachableError:
                raise
            except Exception as error:  # of one image, whatever it is
                self._broken.add(index)
                tally.broken += 1
                tally.fault = sentence(self.called(index), error)
                tally.check(file)
                if len(self._broken) <= _NAMED:
                    _log.warning("%s; another image takes its place", tally.fault)
                elif len(self._broken) == _NAMED + 1:
                    _log.warning("more images in %s cannot be read, which are not named", self.place)
            else:
                tally.whole += 1
                return index, pixels
        raise UserError(
            f"{_TRIES} images in {self.place} could not be read one after another; see that the disk is there and the "
            "images are whole"
        )

    def _instead(self, wanted: int) -> Iterator[int]:
        """Yield the number itself, and then others that it decides, so that a resumed training sees the same."""
        yield wanted
        others = np.random.Generator(np.random.Philox(wanted))
        for _ in range(_TRIES):
            yield int(others.integers(len(self)))

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels, uint8 [C, H, W]."""
        channels, height, width = self._shape
        image = self._part(self._reader.read(self.source(index), self.called(index)))
        if self.config.size is None and image.size != (width, height):
            raise UserError(f"{self.called(index)} is {image.width} x {image.height}, not {width} x {height}")
        image = resized(image, height, width, self.config.resize)
        return np.array(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)

    def _part(self, image: PIL.Image.Image) -> PIL.Image.Image:
        """Return what is taken of an image."""
        return image


def same_size(
    config: ImagesConfig, sizes: NDArray[np.int32], called: Callable[[int], str], place: str
) -> tuple[int, int]:
    """Return the height and width that every image gets; ``sizes`` are theirs, int32 [N, 2].

    Raises :class:`UserError` if they differ and no size is set.
    """
    if isinstance(config.size, int):
        return config.size, config.size
    if config.size is not None:
        return config.size
    if not len(sizes):
        return 1, 1
    other = (sizes != sizes[0]).any(axis=1)
    if other.any():
        index = int(other.argmax())
        (one, two), (a, b) = sizes[[0, index]].tolist(), (called(0), called(index))
        raise UserError(
            f"the images in {place} have different sizes ({a} is {one[0]} high and {one[1]} wide, {b} {two[0]} "
            f"and {two[1]}); resize them with --set data.size=64 or --set data.size=[HEIGHT,WIDTH]"
        )
    return int(sizes[0, 0]), int(sizes[0, 1])


def labels_of(texts: Sequence[str], place: str) -> tuple[Label, Tensor] | tuple[None, None]:
    """Return the classes that texts say, and int64 [N]: numbers from 0 as they are, other texts in their order.

    Nothing is returned if all are the same. Raises :class:`UserError` if there are too many classes to learn.
    """
    known = sorted(set(texts))
    if len(known) < 2:
        return None, None
    most = max(len(texts), _CLASSES)
    if all(text.isascii() and text.isdigit() and len(text) < 10 for text in known):
        y = torch.tensor([int(text) for text in texts])
        field, count = Label(int(y.max()) + 1), int(y.max()) + 1
    else:
        number = {text: index for index, text in enumerate(known)}
        y = torch.tensor([number[text] for text in texts])
        field, count = Label(len(known), tuple(known)), 2 * len(known)  # more than a half are no classes
    if count > most:
        raise UserError(
            f"the labels in {place} are no classes that are counted from 0, but as many as {count:,} different ones "
            f"such as {known[-1]!r}; leave them out with --set data.labels=false"
        )
    return field, y


def attempted(work: Callable[[int], _Result], numbers: Sequence[int]) -> Iterator[_Result | Exception]:
    """Yield what ``work`` makes of each number, or fails with, in their order; threads share the work."""

    def attempt(some: Sequence[int]) -> list[_Result | Exception]:
        found = list[_Result | Exception]()
        for number in some:
            try:
                found.append(work(number))
            except Exception as error:  # of one image, whatever it is
                found.append(error)
        return found

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            for found in pool.map(attempt, (some[at : at + _PORTION] for at in range(0, len(some), _PORTION))):
                yield from found


def sentence(called: str, error: Exception) -> str:
    """Return what is wrong with an image, in one line."""
    if isinstance(error, UserError):
        return str(error)
    return f"{called} cannot be read: {' '.join(str(error).split()) or type(error).__name__}"
