"""Reading pickles and torch files that may come from anyone: tensors, plain containers and inert records, no code.

Python's own unpickler calls what a file names, so that a file can run any code; ``torch.load(weights_only=True)`` takes
no file with objects in it, as most published generators have. Here a small interpreter (:mod:`ganzoo.files.opcodes`)
builds containers and tensors itself, keeps any other object as a :class:`Record` of its class's name and its state, and
calls nothing. Source that a file embeds, as those of NVIDIA's ``torch_utils.persistence`` do, stays a text.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO, TYPE_CHECKING, Any

from ganzoo.errors import UserError
from ganzoo.files.opcodes import Machine, read_stream
from ganzoo.files.reading import open_regular, reason
from ganzoo.files.records import Record, Storage, entries, refuse

if TYPE_CHECKING:
    import torch

__all__ = ["Record", "entries", "module_tensors", "named_tensors", "read_pickle"]

LIMIT = 2**32
"""Bytes of a file: the largest of published generators have 3 GB."""

_DEPTH = 64  # how deep modules are nested in modules

_MODULES = 2**14  # of a network


def module_tensors(module: Any) -> dict[str, torch.Tensor]:
    """Return the parameters and persistent buffers of a module that was pickled whole, as its ``state_dict()`` would.

    Raises :class:`UserError` for what is no module.
    """
    import torch

    found: dict[str, torch.Tensor] = {}
    waiting, seen = [("", module, 0)], 0
    while waiting:
        prefix, current, depth = waiting.pop()
        state, seen = entries(current), seen + 1
        # A record may hold another twice, so that a small file would be an endless network.
        if "_modules" not in state or depth > _DEPTH or seen > _MODULES:
            raise UserError(f"{prefix.rstrip('.') or 'what was read'} is no module of torch, or nested without end")
        left = {name for name in _set(state.get("_non_persistent_buffers_set")) if isinstance(name, str)}
        for part in ("_parameters", "_buffers"):
            for name, tensor in entries(state.get(part)).items():
                if tensor is not None and not (part == "_buffers" and name in left):
                    if not isinstance(tensor, torch.Tensor):
                        raise UserError(f"{prefix}{name} is no tensor but {tensor!r:.80}")
                    found[f"{prefix}{name}"] = tensor
        below = entries(state["_modules"]).items()
        waiting += [(f"{prefix}{name}.", each, depth + 1) for name, each in below if each is not None]
    return found


def named_tensors(state: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a ``state_dict()``; raises :class:`UserError` if it holds anything else, or nothing."""
    import torch

    found = entries(state)
    if not found or not all(isinstance(key, str) and isinstance(each, torch.Tensor) for key, each in found.items()):
        raise UserError("the checkpoint holds no tensors by name where its networks should be")
    return dict(found)


def _set(value: Any) -> set[Any]:
    """Return a set, or nothing for what is none."""
    return set(value) if isinstance(value, set | frozenset) else set()


def read_pickle(path: str | PathLike[str], most: int = LIMIT) -> Any:
    """Return what a pickle or a file of ``torch.save`` holds, of any of torch's formats, and run nothing that is in it.

    Numbers, texts, bytes, lists, tuples, dicts (as :class:`dict`), sets and tensors on the CPU are what they were; any
    other object is a :class:`Record`. Raises :class:`UserError`, in one sentence, if the file is damaged, cut short,
    larger than ``most`` bytes, or names a function or a class of Python's library that is not data.
    """
    with open_regular(path, most) as file, _reported(path):
        size = os.fstat(file.fileno()).st_size
        if file.peek(4)[:4] == b"PK\x03\x04":
            return _read_archive(file, size)
        return read_stream(_Bounded(file, size), size)


class _Bounded(io.RawIOBase):
    """A file that refuses to read more than it has, since buffered readers allocate what they are asked for first."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size

    def tell(self) -> int:
        return self.file.tell()

    def read(self, count: int = -1) -> bytes:
        if count > self.size - self.tell():
            refuse("it is cut short")
        return self.file.read(count)

    def readline(self, most: int | None = -1) -> bytes:
        return self.file.readline()

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


@contextmanager
def _reported(path: str | PathLike[str]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except Exception as error:  # whatever pickletools, zipfile and torch stumble over
        said = reason(error) if str(error) else "it is cut short or damaged"
        raise UserError(f"cannot read {path}: it is no pickle and no file of torch, or damaged: {said}") from None


def _read_archive(file: IO[bytes], size: int) -> Any:
    """Read the zip archive that torch writes: a pickle, and a member for each storage."""
    left = size  # members may lie over each other: all that is read of them is not more than the file

    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.count("/") <= 1 and name.endswith("data.pkl")]
        if len(pickles) != 1:
            refuse("it is an archive, and not one that torch writes")
        folder = pickles[0].removesuffix("data.pkl")

        def member(name: str) -> bytes:
            nonlocal left
            info = archive.getinfo(name)
            left -= info.file_size
            # torch compresses nothing, and what is compressed can be of any size.
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                refuse(f"its member {name!r} is compressed, or larger than the file")
            return archive.read(info)

        storages: dict[str, Storage] = {}

        def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
            if key not in storages:
                storages[key] = Storage(dtype, member(f"{folder}data/{key}"))
            return storages[key]

        order = f"{folder}byteorder"
        if order in archive.namelist() and member(order) != b"little":
            refuse("it was written on a machine of the other byte order")
        return Machine(io.BytesIO(member(pickles[0])), storage).run()
