"""Files on disk or behind a URL: found by a pattern, and read in ranges of bytes."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ganzoo import UserError
from ganzoo.files import file_system, is_url, open_regular, reached, without_secrets
from ganzoo_runtime.text import counted

__all__ = ["find", "has_pattern", "located", "opened", "read_range", "stamp"]

_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST = 1_000_000  # files that a pattern stands for
_CHANGES = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created", "updated")


def located(place: str) -> str:
    """Return a place on disk from the root on, since a run may be resumed from another folder; URLs as they are."""
    return place if is_url(place) else os.path.abspath(os.path.expanduser(place))


def has_pattern(place: str) -> bool:
    """Return whether a text stands for files by ``*``, ``?`` or ``{000..012}``, and is not the name of one."""
    return glob.has_magic(place) or _RANGE.search(place) is not None


def find(place: str, suffix: str) -> list[str]:
    """Return the files that a text stands for: a file, a folder, or a pattern, on disk or behind a URL, in order.

    In a folder these are the files of the suffix, at any depth; in a pattern ``*`` and ``?`` are any characters, and
    ``{000..012}`` is each of these numbers. Raises :class:`UserError` if there are none.
    """
    found = list[str]()
    with reached(place):
        for each in _numbered(place):
            files = _found(each, suffix)
            if not files:
                raise UserError(
                    f"there are no {suffix} files in {without_secrets(each)}; give a folder, a file, or a pattern such "
                    f"as a-*{suffix}"
                )
            found += files
    return found


@contextmanager
def opened(place: str, *, ahead: bool = True) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file; yield it and the number of its bytes. Unless ``ahead``, of a URL no byte more is read than asked."""
    with reached(place):
        if is_url(place):
            system, path = file_system(place)
            size = system.size(path)
            if size is None:
                raise UserError(f"{without_secrets(place)} cannot be read: the server does not say how long it is")
            with system.open(path, "rb", **({} if ahead else {"cache_type": "none"})) as file:
                yield file, int(size)
        else:
            with open_regular(place) as file:
                yield file, os.fstat(file.fileno()).st_size


def read_range(place: str, start: int, size: int) -> bytes:
    """Return so many bytes of a file from ``start`` on; raises :class:`UserError` if there are fewer."""
    with reached(place):
        if is_url(place):
            system, path = file_system(place)
            content: bytes = system.cat_file(path, start=start, end=start + size)
            if len(content) > size:
                raise ValueError("no range requests")
        else:
            # Opened each time: that is nothing beside decoding, and no worker inherits another one's place in a file.
            with open_regular(place) as file:
                file.seek(start)
                content = file.read(size)
    if len(content) < size:
        raise UserError(
            f"{without_secrets(place)} ends before byte {start + size:,}; it has changed since it was indexed"
        )
    return content


def stamp(place: str) -> str:
    """Return a text that changes when the file does."""
    with reached(place):
        if is_url(place):
            system, path = file_system(place)
            facts = system.info(path)
            return " ".join(str(facts.get(name)) for name in ("size", *_CHANGES))
        status = os.stat(place)
        return f"{status.st_size} {status.st_mtime_ns}"


def _found(place: str, suffix: str) -> list[str]:
    if is_url(place):
        system, path = file_system(place)
        if glob.has_magic(path):
            paths = system.glob(path)
        elif path.endswith(suffix):
            paths = [path]
        else:
            paths = [each for each in system.find(path) if each.endswith(suffix)]
        return sorted(system.unstrip_protocol(each) for each in paths)
    if os.path.isdir(place):
        walked = (os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names)
        return sorted(each for each in walked if each.endswith(suffix) and not os.path.basename(each).startswith("."))
    return [place] if os.path.exists(place) else sorted(glob.glob(place, recursive=True))


def _numbered(pattern: str) -> list[str]:
    """Return the pattern with each of the numbers in place of ``{first..last}``."""
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < _MOST:
        raise UserError(
            f"{without_secrets(pattern)} stands for {counted(last - first + 1, 'file')}; the numbers go up, to at most "
            f"{_MOST:,}"
        )
    before, after = pattern[: found.start()], pattern[found.end() :]
    numbers = (f"{number:0{len(found[1])}}" for number in range(first, last + 1))
    return [each for number in numbers for each in _numbered(f"{before}{number}{after}")]
