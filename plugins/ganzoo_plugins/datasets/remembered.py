"""What is known of many files, kept in the cache folder: names without an object for each, and arrays beside them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ganzoo import UserError
from ganzoo.files import read_arrays
from ganzoo_runtime.cache import cache_folder

__all__ = ["Names", "recall", "remember"]

_MOST = 2**34  # bytes of what is kept of one place: some hundred million files


class Names(Sequence[str]):
    """Many texts as one block of bytes: a million take 20 MB, and worker processes share them.

    As a list of Python's they would take five times as much, and each worker's own copy of it as soon as it counts
    references to them.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        # surrogatepass: names of files need not be valid text, and come back as they were.
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        self.bytes = np.frombuffer(b"".join(parts), np.uint8)
        self.ends = np.cumsum([len(part) for part in parts], dtype=np.int64)

    @classmethod
    def of(cls, block: NDArray[np.uint8], ends: NDArray[np.int64]) -> Names:
        """Return the texts whose bytes these are; raises ValueError if they cannot be."""
        if np.any(np.diff(ends, prepend=0) < 0) or (ends[-1] if len(ends) else 0) != len(block):
            raise ValueError("no block of names")
        names = cls(())
        names.bytes, names.ends = block, ends
        return names

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[str]:
        block, start = self.bytes.tobytes(), 0
        for end in self.ends.tolist():
            yield block[start:end].decode("utf-8", "surrogatepass")
            start = end

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = self.ends[index - 1] if index else 0
        return self.bytes[start : self.ends[index]].tobytes().decode("utf-8", "surrogatepass")


def recall(*key: object) -> dict[str, NDArray[Any]]:
    """Return the arrays that were remembered under the key; empty if there are none, or they are damaged."""
    with suppress(UserError):
        return dict(read_arrays(_file(key), most=_MOST))
    return {}


def remember(arrays: Mapping[str, NDArray[Any]], *key: object) -> None:
    """Keep the arrays under the key, in place of what was kept there; where nothing can be written, nothing is."""
    path = _file(key)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:  # without an fsync: what a power cut damages is made again
            np.savez(file, **arrays)  # type: ignore[arg-type]  # which its stubs take for other arguments
        beside.replace(path)


def _file(key: Sequence[object]) -> Path:
    digest = hashlib.sha256(json.dumps([str(part) for part in key]).encode()).hexdigest()
    return cache_folder() / "indices" / f"{digest[:32]}.npz"
