"""Your own images in tar files as WebDataset writes them, on disk or in an object store; nothing is unpacked."""

import logging
import posixpath
import tarfile
from collections.abc import Iterator
from typing import IO, Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from ganzoo import UserError
from ganzoo.files import parse_json, without_secrets
from ganzoo.images.reading import SUFFIXES
from ganzoo_plugins.datasets.places import find, located, opened, read_range, stamp
from ganzoo_plugins.datasets.remembered import Names, recall, remember
from ganzoo_plugins.datasets.stored import (
    ImagesConfig,
    StoredImages,
    UnreachableError,
    attempted,
    labels_of,
    same_size,
)
from ganzoo_runtime.text import counted

_log = logging.getLogger("ganzoo")
_BLOCK = 512  # bytes that a tar consists of
_HEADER = 2**20  # bytes of what a tar says of one member: long names and attributes
_HEAD = 2**16  # bytes of an image in which its size nearly always is
_IMAGE = 2**30  # bytes of an image
_LABEL = 2**20  # bytes of a label
_PADDING = 2**21  # bytes of zeros that a tar may end with
_NAMED = 8  # faults that a warning names


class ShardsConfig(ImagesConfig):
    """Settings of :class:`Shards`."""

    path: Annotated[str, AfterValidator(located)] = Field(
        min_length=1,
        description="folder with .tar files, or one such file, or a pattern such as data/train-*.tar, on disk "
        "or behind a URL that fsspec knows (s3://, gs://, https:// ...)",
    )
    image: str | None = Field(
        None, description="ending of the members that are the images, such as input.png; by default any image's"
    )
    labels: bool = Field(True, description="take the classes that the samples' .cls or .json say, where all say one")
    label: str = Field("label", description="what a sample's class is called in its .json")


class Shards(StoredImages[ShardsConfig]):
    """Images in tar files: ``0001.png`` and, if there are classes, ``0001.cls`` or ``0001.json`` beside it.

    Fields: ``x`` uint8 [N, C, H, W] in 0 .. 255, and where all samples have a class ``y`` int64 [N]. What of a name
    comes before the first dot makes one sample of the members of a tar. A ``.cls`` is the class as text, of a ``.json``
    the value under ``label``: numbers from 0 as they are, names in their order. Samples are in the order of the tars'
    names, and in each as they lie there (``files``).

    Where each image lies is found out once for a tar, and remembered in the cache folder until its size or its time of
    change is another. Images are then read by their ranges of bytes, in any order, so that a training resumes exactly;
    some 70 bytes are held in memory for one. Members that are no files or have no place below a folder, that are too
    large or cut short, and images that cannot be read are left out, counted (``skipped``) and named in a warning.
    What is no tar from its first byte on, or has hardly any whole image, is refused by its name.
    """

    def __init__(self, config: ShardsConfig) -> None:
        self.config = config
        self.place = without_secrets(config.path)
        self.shards = tuple(find(config.path, ".tar"))
        indices, problems, skipped = list[_Index](), list[str](), 0
        for found in attempted(lambda number: _index(self.shards[number], config), range(len(self.shards))):
            if isinstance(found, Exception):
                raise found
            indices.append(found)
            problems += found.problems[: _NAMED - len(problems)]
            skipped += found.skipped
        counts = [len(index.sizes) for index in indices]
        count = sum(counts)
        if not count:
            raise UserError(
                f"there are no images to use in {self.place}, {counted(len(self.shards), '.tar file')}"
                + (f": {problems[0]}" if problems else "; they are members such as 0001.png")
            )
        self._shard = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._extents = np.concatenate([index.extents for index in indices])
        self._names = Names(name for index in indices for name in index.names)
        texts = [text for index in indices for text in index.labels] if config.labels else []
        sizes = np.concatenate([index.sizes for index in indices])
        failed = list[str]()
        self._rows = np.arange(count)
        self._rows = self.hold(count, same_size(config, sizes, self.called, self.place), failed)
        self.lengths = self._extents[self._rows, 1]
        self.skipped = skipped + len(failed)
        if problems or failed:
            named = "; ".join([*problems, *failed][:_NAMED])
            members = counted(self.skipped, "member")
            _log.warning("skipped in the tar files in %s: %s: %s", self.place, members, named)
        if not len(self._rows):
            raise UserError(f"no image in {self.place} can be used: {failed[0]}")
        missing = sum(not text for text in texts)
        if 0 < missing < len(texts):
            _log.warning("there are no classes, because %d of %d samples in %s have none", missing, count, self.place)
        field, y = labels_of(texts, self.place) if texts and not missing else (None, None)
        self.describe("shards", len(self._rows), field, None if y is None else y[self._rows])

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the images in their tars."""
        return tuple(self._names[row] for row in self._rows.tolist())

    def source(self, index: int) -> bytes:
        row = self._rows[index]
        start, size = self._extents[row].tolist()
        try:
            return read_range(self.shards[self._shard[row]], start, size)
        except UserError as error:  # a tar that is gone, or a network: no fault of one image
            raise UnreachableError(str(error)) from None

    def called(self, index: int) -> str:
        return f"{self._names[self._rows[index]]} in {self.file_of(index)}"

    def file_of(self, index: int) -> str:
        return without_secrets(self.shards[self._shard[self._rows[index]]])


class _Index(NamedTuple):
    """Where the images of one tar lie, and what is known of them."""

    names: Names
    labels: Names  # empty where there is none
    extents: NDArray[np.int64]  # [N, 2]: the first byte, and how many
    sizes: NDArray[np.int32]  # [N, 2]: height and width
    problems: list[str]
    skipped: int


def _index(shard: str, config: ShardsConfig) -> _Index:
    """Return the index of a tar, as remembered or made anew."""
    key = ("shard", shard, config.image, config.label, config.max_pixels)
    now = np.frombuffer(stamp(shard).encode(), np.uint8)
    if before := recall(*key):
        try:
            if np.array_equal(before["stamp"], now):
                names, labels, problems = (
                    Names.of(before[part], before[f"{part}_ends"]) for part in ("names", "labels", "problems")
                )
                extents, sizes = before["extents"].reshape(-1, 2), before["sizes"].reshape(-1, 2)
                if len(names) == len(labels) == len(extents) == len(sizes):
                    return _Index(names, labels, extents, sizes, list(problems), int(before["skipped"]))
        except (KeyError, ValueError, TypeError):  # it is damaged
            pass
    with opened(shard) as (file, size):
        index = _indexed(file, size, without_secrets(shard), config)
    texts = {"names": index.names, "labels": index.labels, "problems": Names(index.problems)}
    arrays: dict[str, NDArray[Any]] = {part: names.bytes for part, names in texts.items()}
    arrays |= {f"{part}_ends": names.ends for part, names in texts.items()}
    skipped = np.array(index.skipped)
    remember({**arrays, "extents": index.extents, "sizes": index.sizes, "skipped": skipped, "stamp": now}, *key)
    return index


def _indexed(file: IO[bytes], size: int, shard: str, config: ShardsConfig) -> _Index:
    """Read through the headers of a tar."""
    reader, problems, skipped, begun = config.reader(), list[str](), 0, False
    images = dict[str, tuple[str, int, int, int, int]]()
    labels = dict[str, str]()
    for info, fault in _members(file, size):
        # A name without a place below a folder does no harm, as nothing is unpacked; whoever wrote it meant some.
        name = info.name if info is not None else ""
        if not begun and info is None:
            raise UserError(f"{shard}: {fault}; get it once more, or leave it out of data.path")
        begun = True
        folder, _, base = name.rpartition("/")
        stem, _, ending = base.partition(".")
        if not fault and (name.startswith("/") or ".." in name.split("/")):
            fault = "its name leads out of the folder"
        if info is not None and not fault:
            if info.isdir() or not stem or not ending:  # hidden files, and what has no kind
                continue
            key, ending = posixpath.join(folder, stem), ending.lower()
            try:
                if ending == config.image or (config.image is None and f".{ending}" in SUFFIXES):
                    if not info.isreg() or info.issparse() or info.size > _IMAGE:
                        raise UserError(f"{name} is not a plain file of at most {_IMAGE:,} bytes")
                    height, width = _measure(file, info, reader, f"{name} in {shard}")
                    images[key] = name, info.offset_data, info.size, height, width  # of two, the last one counts
                elif ending == "cls" or (ending == "json" and key not in labels):
                    labels[key] = _label(file, info, ending, config.label)
            except UserError as error:
                fault = str(error)
        if fault:
            skipped += 1
            if len(problems) < _NAMED:
                problems.append(fault if shard in fault else f"{name or 'a member'} in {shard}: {fault}")
    rows = [(images[key], labels.get(key, "")) for key in images]
    return _Index(
        Names(image[0] for image, _ in rows),
        Names(label for _, label in rows),
        np.array([image[1:3] for image, _ in rows], np.int64).reshape(-1, 2),
        np.array([image[3:] for image, _ in rows], np.int32).reshape(-1, 2),
        problems,
        skipped,
    )


def _members(file: IO[bytes], size: int) -> Iterator[tuple[tarfile.TarInfo | None, str]]:
    """Yield the members of a tar, and what is wrong: with the member, or without one, with all that would follow."""
    before = -1
    try:
        with tarfile.open(fileobj=_Guarded(file), mode="r:") as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                archive.members = []  # which would grow with the tar
                # A negative size leads back to where it was: a ring without an end.
                if info.size < 0 or info.offset <= before:
                    yield None, "it has a member of a negative size, and what follows is lost"
                    return
                before = info.offset
                if info.isreg() and info.offset_data + info.size > size:
                    yield (
                        info,
                        f"it is cut short: the file ends before its {info.size:,} bytes, and what follows is lost",
                    )
                    return
                yield info, ""
            file.seek(archive.offset)
            if file.read(_BLOCK).strip(b"\0"):
                yield None, f"what is at byte {archive.offset:,} is no header of a member, and what follows is lost"
            elif size - archive.offset > _PADDING:  # a download that was not finished, or two tars in one file
                yield None, f"it ends at byte {archive.offset:,} of {size:,}, and what follows is lost"
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, OSError) as error:
        file.seek(0)
        packed = "; it is compressed, and images are read from any place: unpack it to a .tar with gunzip, say"
        why = packed if file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5") else ""
        yield None, f"it is no tar, or damaged ({' '.join(str(error).split()) or type(error).__name__}){why}"


class _Guarded:
    """A file of which tarfile reads headers alone: what a header says cannot make it read a whole disk into memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, place: int) -> int:
        if not 0 <= place < 2**62:
            raise tarfile.ReadError("a member of an impossible size")
        return self._file.seek(place)


def _measure(file: IO[bytes], info: tarfile.TarInfo, reader: Any, name: str) -> tuple[int, int]:
    """Return the height and width of an image in a tar."""
    file.seek(info.offset_data)
    head = file.read(min(info.size, _HEAD))
    try:
        found: tuple[int, int] = reader.size(head, name)
    except UserError:
        if info.size <= _HEAD:
            raise
        found = reader.size(head + file.read(info.size - _HEAD), name)
    return found


def _label(file: IO[bytes], info: tarfile.TarInfo, ending: str, label: str) -> str:
    """Return the class that a member says; raises :class:`UserError` if it says none."""
    if not info.isreg() or info.issparse() or info.size > _LABEL:
        raise UserError(f"{info.name} is not a plain file of at most {_LABEL:,} bytes")
    file.seek(info.offset_data)
    try:
        text = file.read(info.size).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UserError(f"{info.name} is not UTF-8 text") from None
    if ending == "cls":
        return text
    document = parse_json(text, info.name)
    found = document.get(label) if isinstance(document, dict) else None
    return str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
