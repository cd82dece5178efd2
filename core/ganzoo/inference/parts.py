"""Samples of any number in parts, which several processes share, and of which a later call writes what is missing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UserError, at_least, path_of
from ganzoo.fields import Image, Signature
from ganzoo.files import append_line, fsync_folder, open_regular, read_text, remove, remove_leftovers, temporary_path
from ganzoo.plugin.registry import load_registry
from ganzoo_runtime.marking import provenance
from ganzoo_runtime.random_inputs import Drawing
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from ganzoo.gan.sampler import Sampler
    from ganzoo.inference.formats import Sink

__all__ = ["PART", "Parts", "save_parts"]

PART = 10_000
"""Samples in a part, if nothing else is said."""

_BATCH = 64
"""Samples that are computed at a time, always so many, so that a part has the same bytes whoever computes it."""

_SKIPPED = 1024
"""Inputs that are drawn at a time for the samples of others."""


class Parts(NamedTuple):
    """What a process has written of its parts."""

    drawn: int
    """How many samples it has drawn."""
    kept: int
    """How many it has found in complete parts of an earlier call."""
    pattern: Path
    """What a reader is given, such as ``digits-{000000..000099}.tar``."""


def save_parts(
    sampler: Sampler,
    path: str | PathLike[str],
    n: int,
    *,
    part: int = PART,
    rank: int = 0,
    world: int = 1,
    seed: int = 0,
    **asked: Any,
) -> Parts:
    """Write those of ``n`` samples that are the process's of number ``rank`` of ``world``, in parts of ``part`` each.

    ``digits.tar`` is written as ``digits-000000.tar`` and on, a folder as folders in it. Sample number i of a seed is
    the same as :func:`~ganzoo.inference.saving.save_samples` draws, whatever the number of processes: each draws the
    inputs of all samples, which takes little, and computes its own. A part is complete or not there at all; beside the
    parts a process notes which it has written, and their SHA-256. A later call with the same request, of as many
    processes or others, computes those that are missing or have changed since.

    ``asked`` is what :meth:`ganzoo.Sampler.stream` takes besides. Raises :class:`~ganzoo.UserError` for what cannot be
    drawn or written, for a full disk, and where there are parts of another request.
    """
    at_least("-n", n, 1)
    at_least("--part", part, 1)
    path, registry = path_of("path", path), load_registry()
    suffix = "" if path.is_dir() else path.suffix.lower()
    output = Signature.from_json(sampler.metadata["signature"]).output
    sinks = {entry.spec.key for entry in registry.specs("sink")}
    if (suffix.removeprefix(".") or "folder") not in sinks:
        known = ", ".join(sorted(f".{key}" for key in sinks if key != "folder"))
        raise UserError(f"samples are written in parts to a folder of images, or to {known}, not to {path}")
    if not suffix and not isinstance(output, Image):
        raise UserError(f"the model draws {output.kind}, not images, so that --out is a file and no folder")
    write: Sink = registry.get("sink", suffix.removeprefix(".") or "folder").spec.load()
    stem = f"{path.stem}-" if suffix else ""
    folder = path.parent if suffix else path
    fields = sampler.metadata["signature"]["inputs"]
    try:
        drawing = Drawing(fields, n, seed, means=sampler.metadata.get("latent_mean", {}), **asked)
    except ValueError as error:
        raise UserError(str(error)) from None
    count = -(-n // part)
    notes = _Notes(folder, f"{path.stem}.parts" if suffix else "parts", rank)
    done = notes.read({"n": n, "part": part, "seed": seed, "request": _digest_of([sampler.metadata, asked])})
    signature = {**sampler.metadata["signature"], "provenance": provenance(sampler.metadata, seed)}
    at = drawn = kept = 0
    remove_leftovers(folder)
    for index in range(rank, count, world):
        first, name = index * part, f"{stem}{index:06d}{suffix}"
        size, place = min(part, n - first), folder / name
        if name in done and done[name] == _digest(place):
            kept += size
            continue
        for begin in range(at, first, _SKIPPED):
            drawing.take(min(_SKIPPED, first - begin))
        try:
            with temporary_path(place, folder=True) as temporary:
                pieces = _pieces(sampler, drawing, size)
                written = write(
                    temporary / name,
                    ((output.stored(samples), inputs) for samples, inputs in pieces),
                    size,
                    {**signature, "first": first},
                )
                if written != temporary / name:
                    raise UserError(
                        f"{part:,} samples are several files, so that no part holds as many; take --part {PART}"
                    )
                digest = _digest(written)
                remove(place)  # of an earlier call, and not complete
                written.rename(place)
                fsync_folder(folder)
            notes.add(name, digest)
        except ValueError as error:
            of = counted(kept + drawn, "sample")
            left = f"; complete parts are kept ({of} of this process): the same command goes on"
            raise UserError(f"{error}{left if kept + drawn else ''}") from None
        at, drawn = first + size, drawn + size
    only = f"{stem}{0:06d}{suffix}" if count == 1 else f"{stem}{{{0:06d}..{count - 1:06d}}}{suffix}"
    return Parts(drawn, kept, folder / only)


def _pieces(sampler: Sampler, drawing: Drawing, size: int) -> Iterator[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]:
    for done in range(0, size, _BATCH):
        inputs = drawing.take(min(_BATCH, size - done))
        yield np.ascontiguousarray(sampler(*inputs.values())), inputs


class _Notes:
    """The complete parts by name, with their SHA-256: a file of lines for each process, which it alone appends to."""

    def __init__(self, folder: Path, stem: str, rank: int) -> None:
        self._folder, self._stem = folder, stem
        self._path = folder / f"{stem}-{rank}.jsonl"

    def read(self, request: Mapping[str, Any]) -> dict[str, str]:
        """Return what all processes of earlier calls have noted; UserError if these had another request."""
        done: dict[str, str] = {}
        for path in sorted(self._folder.glob(f"{self._stem}-*.jsonl")):
            for line in read_text(path).splitlines():
                try:
                    found = json.loads(line)
                except ValueError:  # cut short, as a process was killed
                    continue
                if isinstance(found, dict) and "request" in found and found != request:
                    changed = [key for key, value in request.items() if found.get(key) != value]
                    what = "the model or what is asked of it" if changed == ["request"] else f"another {changed[0]}"
                    raise UserError(f"{path} is of a call with {what}; repeat that call, or write to another place")
                if isinstance(found, dict) and isinstance(found.get("name"), str):
                    done[found["name"]] = str(found.get("sha256"))
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            append_line(self._path, json.dumps(request))
        return done

    def add(self, name: str, digest: str) -> None:
        """Note a part that is complete."""
        append_line(self._path, json.dumps({"name": name, "sha256": digest}))


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files and their names; of what is not there, that of nothing."""
    if path.is_dir():
        names = sorted(entry.name for entry in os.scandir(path))
        return _digest_of([[name, _digest(path / name)] for name in names])
    if not path.is_file():
        return ""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=lambda each: np.asarray(each).tolist())
    return hashlib.sha256(text.encode()).hexdigest()
