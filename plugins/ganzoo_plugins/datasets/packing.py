"""Packing a folder of images for training: resized, cut and converted once, without copies and what is broken."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ganzoo import ImageReader, UserError
from ganzoo.files import Lock, atomic_path, fsync_folder, read_records, remove, write_atomic, writing
from ganzoo.images.reading import MAX_PIXELS, find_images, resized
from ganzoo.terminal import Progress
from ganzoo_plugins.datasets.folder import classes_of
from ganzoo_plugins.datasets.stored import attempted, sentence

__all__ = ["Packing", "pack_folder"]

_AT_ONCE = 64  # images that wait in memory to be written
_IMAGES, _BYTES = (
    8192,
    2**28,
)  # after the one or the other, a part is done: what a restart does not do again, and a .tar
_ENCODED: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 6},
    "bmp": {},
    "jpg": {"quality": 95, "subsampling": 0},
}


class Packing(NamedTuple):
    """What becomes of the images."""

    size: tuple[int, int] | None = None
    """Height and width; None leaves them as they are."""
    resize: Literal["crop", "stretch"] = "crop"
    mode: Literal["grey", "rgb", "rgba"] = "rgb"
    format: Literal["png", "bmp", "jpg"] = "png"
    tar: bool = False
    keep_copies: bool = False
    max_pixels: int = MAX_PIXELS


class _Packed(NamedTuple):
    """One image, as it is written."""

    content: bytes
    digest: str  # of its pixels
    size: tuple[int, int]  # height and width, before


def pack_folder(folder: Path, out: Path, packing: Packing, *, quiet: bool = False) -> dict[str, Any]:
    """Write the images of a folder, as packing says, into the new folder ``out``; return a report.

    Images keep their paths, with the suffix of the format, so that subfolders remain classes; with ``tar`` they become
    samples of the data set ``shards``, whose classes are in their .json. Images are copies if their pixels are equal
    once they are packed; the first by its path is kept. The report is in ``out/report.json`` too.

    ``out`` appears when all is done. A call that was stopped is gone on with by the next one of the same arguments.
    Raises :class:`~ganzoo.UserError` if the folder has no images that can be read, ``out`` has something in it, or
    they lie in each other; the folder is only read.
    """
    root, out = Path(os.path.abspath(folder.expanduser())), Path(os.path.abspath(out.expanduser()))
    _check(root, out, packing)
    files, hidden = find_images(root)
    work = out.with_name(f".{out.name}.packing")
    with writing(out):
        (work / "parts").mkdir(parents=True, exist_ok=True)
    lock = Lock(work / "lock")
    if owner := lock.acquire():
        raise UserError(f"{owner} packs into {out} already")
    try:
        job = _Job(root, files, classes_of(root, files), work, packing)
        with writing(out):
            report = job.run(quiet)
            report |= {"hidden": len(hidden)}
            write_atomic(job.data / "report.json", json.dumps(report, indent=1))
            if hasattr(os, "sync"):  # once for all images: the name is to be there no earlier than they are
                os.sync()
            with suppress(FileNotFoundError):
                out.rmdir()  # it is empty
            job.data.rename(out)
            fsync_folder(out.parent)
    finally:
        lock.release()
    remove(work)
    return report


def _check(root: Path, out: Path, packing: Packing) -> None:
    real, target = Path(os.path.realpath(root)), Path(os.path.realpath(out))
    if target.is_relative_to(real) or real.is_relative_to(target):
        raise UserError(f"{out} and {root} lie in each other, and images would be packed twice; choose another OUT")
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise UserError(f"{out} is there already, and is not an empty folder; choose another OUT")
    if out.suffix.lower() in (".tar", ".zip"):
        raise UserError(f"OUT is a folder, and {out.name} the name of an archive; with --tar the folder has .tar files")
    if packing.mode == "rgba" and packing.format != "png":
        raise UserError(f"{packing.format} files have no transparency; take --format png, or --mode rgb")


class _Job:
    """The packing of a folder, part by part; ``parts`` of the working folder notes what is done."""

    def __init__(self, root: Path, files: list[str], names: tuple[str, ...], work: Path, packing: Packing) -> None:
        self.root, self.files, self.names, self.packing = root, files, names, packing
        self.data, self.parts = work / "data", work / "parts"
        self.reader = ImageReader(packing.mode, max_pixels=packing.max_pixels, setting="--max-pixels N")
        self.places = _places(files, packing.format)
        self._forget_others(work / "task")
        self.records = list[dict[str, Any]]()
        self.done = 0  # parts
        while (part := self.parts / f"{self.done:06d}.jsonl").is_file() and self._whole(
            noted := list(read_records(part))
        ):
            self.records += noted
            self.done += 1

    def run(self, quiet: bool) -> dict[str, Any]:
        """Pack what is left, and return the report."""
        first = {record["digest"]: record["file"] for record in self.records if "digest" in record}
        since, before = time.perf_counter(), len(self.records)
        with Progress(len(self.files), before, quiet=quiet) as progress:
            while len(self.records) < len(self.files):
                part, written = list[dict[str, Any]](), 0
                with _output(self.data, f"{self.done:06d}.tar" if self.packing.tar else None) as write:
                    while (
                        len(part) < _IMAGES and written < _BYTES and (left := self._next(len(self.records) + len(part)))
                    ):
                        for number, found in zip(left, attempted(self._packed, left), strict=True):
                            part.append(self._record(number, found, first))
                            if isinstance(found, _Packed) and "to" in part[-1]:
                                write(number, part[-1], found.content)
                                written += len(found.content)
                        done = len(self.records) + len(part)
                        pace = (done - before) / max(time.perf_counter() - since, 1e-9)
                        progress.advance(done, {"samples_per_second": pace})
                # In one step: a part is done when its lines are there, and else it is made again.
                write_atomic(self.parts / f"{self.done:06d}.jsonl", "".join(f"{json.dumps(each)}\n" for each in part))
                self.records += part
                self.done += 1
        return self._report()

    def _next(self, start: int) -> range:
        return range(start, min(start + _AT_ONCE, len(self.files)))

    def _packed(self, number: int) -> _Packed:
        image, packing = self.reader.read(self.root / self.files[number]), self.packing
        size, content = (image.height, image.width), io.BytesIO()
        if packing.size is not None:
            image = resized(image, *packing.size, packing.resize)
        image.save(content, "jpeg" if packing.format == "jpg" else packing.format, **_ENCODED[packing.format])
        digest = hashlib.blake2b(image.tobytes(), digest_size=16, key=f"{image.mode} {image.size}".encode())
        return _Packed(content.getvalue(), digest.hexdigest(), size)

    def _record(self, number: int, found: _Packed | Exception, first: dict[str, str]) -> dict[str, Any]:
        """Return what is noted of an image: where it went, or why it did not."""
        file = self.files[number]
        if isinstance(found, Exception):
            return {"file": file, "broken": sentence(str(self.root / file), found)}
        kept = first.setdefault(found.digest, file)
        if kept != file and not self.packing.keep_copies:
            return {"file": file, "copy": kept}
        label = {"label": file.split(os.sep)[0]} if self.names else {}
        sizes = {"bytes": len(found.content), "before": (self.root / file).stat().st_size, "size": found.size}
        return {"file": file, "to": self.places[number], "digest": found.digest, **sizes, **label}

    def _forget_others(self, task: Path) -> None:
        """Delete what was packed for other images or settings than these."""
        known = hashlib.sha256(json.dumps([str(self.root), *self.packing]).encode())
        for file in self.files:
            status = os.lstat(self.root / file)
            known.update(f"{file}\0{status.st_size} {status.st_mtime_ns}\0".encode("utf-8", "surrogatepass"))
        if not task.is_file() or task.read_bytes() != known.hexdigest().encode():
            for folder in (self.data, self.parts):
                remove(folder)
            write_atomic(task, known.hexdigest())
        for folder in (self.data, self.parts):
            folder.mkdir(exist_ok=True)

    def _whole(self, noted: list[dict[str, Any]]) -> bool:
        """Return whether what is noted as written is there; a power cut may have lost it."""
        if self.packing.tar:
            return (self.data / f"{self.done:06d}.tar").is_file() or not any("to" in each for each in noted)
        with suppress(OSError):
            return all((self.data / each["to"]).stat().st_size == each["bytes"] for each in noted if "to" in each)
        return False

    def _report(self) -> dict[str, Any]:
        kept = [each for each in self.records if "to" in each]
        broken = {each["file"]: each["broken"] for each in self.records if "broken" in each}
        if not kept:
            why = next(iter(broken.values()))
            raise UserError(f"no image in {self.root} can be used, of {len(self.files):,} that were tried: {why}")
        by_area = sorted((each["size"] for each in kept), key=lambda size: (size[0] * size[1], *size))
        return {
            "found": len(self.files),
            "written": len(kept),
            "bytes_before": sum(each["before"] for each in kept),
            "bytes_after": sum(each["bytes"] for each in kept),
            "smallest": by_area[0],
            "median": by_area[len(kept) // 2],
            "largest": by_area[-1],
            "classes": dict(sorted(Counter(each["label"] for each in kept if "label" in each).items())),
            "copies": {each["file"]: each["copy"] for each in self.records if "copy" in each},
            "broken": broken,
            "settings": self.packing._asdict(),
        }


@contextmanager
def _output(data: Path, tar: str | None) -> Iterator[Callable[[int, dict[str, Any], bytes], None]]:
    """Yield what writes an image of that number and record: into its file, or into a tar of the part."""
    if tar is None:

        def write(number: int, record: dict[str, Any], content: bytes) -> None:
            path = data / record["to"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

        yield write
        return
    with atomic_path(data / tar) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:

        def add(number: int, record: dict[str, Any], content: bytes) -> None:
            about = {key: record[key] for key in ("file", "label") if key in record}
            suffix = record["to"].rpartition(".")[2]
            for ending, part in ((suffix, content), ("json", json.dumps(about).encode())):
                member = tarfile.TarInfo(f"{number:09d}.{ending}")  # without a time or owner: the same bytes each time
                member.size = len(part)
                archive.addfile(member, io.BytesIO(part))

        yield add


def _places(files: list[str], suffix: str) -> list[str]:
    """Return where images go: to their own paths with another suffix, or more than that where two would meet."""
    taken, places = set[str](), list[str]()
    for file in files:
        place = f"{os.path.splitext(file)[0]}.{suffix}"
        while place.lower() in taken:  # a.png beside a.jpg; and some disks do not tell A from a
            place = f"{place.removesuffix(f'.{suffix}')}_.{suffix}"
        taken.add(place.lower())
        places.append(place)
    return places
