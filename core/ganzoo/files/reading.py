"""Guarded reading of files that may come from anyone.

Only regular files are opened, since a FIFO or a device could block forever. Their size is limited before a byte is
read, nesting and numbers are checked, and whatever a parser raises becomes one :class:`~ganzoo.UserError`.
"""

import csv
import io
import json
import math
import os
import re
import stat
import tomllib
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from ganzoo.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "open_regular",
    "parse_json",
    "read_arrays",
    "read_bytes",
    "read_csv",
    "read_json",
    "read_records",
    "read_text",
    "read_toml",
]

LIMIT = 2**24
"""Bytes of a document, unless the caller says otherwise; objects in memory are some twenty times as large."""

TABLE = 2**26
"""Bytes of a table, which is read row by row."""

ARRAYS = 2**29
"""Bytes of the arrays that are read from a file."""

_TOML = 2**22  # the parser is written in Python: these take seconds

_LINE = 2**16  # bytes of a record

_RECORDS = 2**30  # bytes of a file of records

_DEPTH = 32  # how deep tables and lists may be nested

_WHOLE = 2**64  # no honest number of a document is larger

_SURROGATES = re.compile("[\ud800-\udfff]")

_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{_DEPTH}}}""")


def open_regular(path: str | PathLike[str], most: int | None = None) -> io.BufferedReader:
    """Open a regular file of at most ``most`` bytes for reading; symbolic links are followed.

    Raises :class:`UserError` if it is missing, too large, or no file: folders, devices, sockets and FIFOs, which are
    not waited for.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO that nobody writes to never returns. Windows has neither flag nor FIFO.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:  # a path with a null byte
        raise UserError(f"cannot read {path}: {error}") from None
    status = os.fstat(handle)
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
    elif most is not None and status.st_size > most:
        problem = f"it has {status.st_size:,} bytes, more than the limit of {most:,}"
    if problem:
        os.close(handle)
        raise UserError(f"cannot read {path}: {problem}")
    return os.fdopen(handle, "rb")


def read_bytes(path: str | PathLike[str], most: int = LIMIT) -> bytes:
    """Return the content of a regular file; raises :class:`UserError` as :func:`open_regular` does."""
    with open_regular(path, most) as file:
        try:
            content = file.read(most + 1)  # it may have grown since
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) > most:
        raise UserError(f"cannot read {path}: it has more than {most:,} bytes")
    return content


def read_text(path: str | PathLike[str], most: int = LIMIT) -> str:
    """Return the UTF-8 text of a regular file, without a byte order mark; raises :class:`UserError` if it has none."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def read_toml(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a TOML file; raises :class:`UserError` if it is missing, no TOML, or holds what is out of bounds."""
    text = read_text(path, _TOML)
    if _LONG_KEY.search(text):  # the parser's time for a dotted key grows with the square of its length
        raise UserError(f"cannot read {path}: it is nested too deep")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError that is no TOMLDecodeError: an endless integer
        raise UserError(f"{path} is not TOML: {reason(error)}") from None
    _check(document, str(path))
    return document


def read_json(path: str | PathLike[str], most: int = LIMIT) -> Any:
    """Read a JSON file; raises :class:`UserError` if it is missing, no JSON, or holds what is out of bounds."""
    return parse_json(read_text(path, most), str(path))


def parse_json(text: str, name: str) -> Any:
    """Parse JSON that came from the file ``name``; numbers that are not finite are allowed, as Python writes them.

    Raises :class:`UserError` if it is none, is nested too deep, or holds an integer of more than 64 bits or a text that
    is none.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON: {reason(error)}") from None
    _check(document, name)
    return document


def read_records(path: str | PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with JSON on each line, in constant memory; other lines are passed over.

    A crash leaves such a line. Raises :class:`UserError` as :func:`open_regular` does.
    """
    with open_regular(path, _RECORDS) as file:
        whole = True  # whether a line begins here
        while line := _line(file, path):
            begins, whole = whole, line.endswith(b"\n")
            if begins and (whole or len(line) < _LINE):
                try:
                    record = parse_json(line.decode(), "a line")
                except (UserError, UnicodeDecodeError):
                    continue
                if isinstance(record, dict):
                    yield record


def _line(file: io.BufferedReader, path: str | PathLike[str]) -> bytes:
    try:
        return file.readline(_LINE)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def read_csv(path: str | PathLike[str], most: int = TABLE, *, empty: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file with the number of the line that each ends in; empty lines, ``[]``, if asked for.

    Raises :class:`UserError` if it cannot be read or is no CSV.
    """
    # Text is decoded some kilobytes ahead of the lines; what cannot be is passed on, to be found in its line.
    opened = open_regular(path, most)
    with io.TextIOWrapper(opened, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(_decoded(file, path), strict=True)
        try:
            for row in rows:
                if row or empty:
                    yield rows.line_num, row
        except csv.Error as error:
            raise UserError(f"{path} is not CSV: {error} in line {rows.line_num}") from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def _decoded(lines: Iterable[str], path: str | PathLike[str]) -> Iterator[str]:
    """Yield the lines; raise :class:`UserError` for one with bytes that are no UTF-8, which are surrogates in it."""
    for number, line in enumerate(lines, 1):
        try:
            line.encode()
        except UnicodeEncodeError:
            raise UserError(f"line {number} of {path} is not UTF-8 text") from None
        yield line


def read_arrays(
    path: str | PathLike[str], names: Container[str] | None = None, most: int = ARRAYS
) -> "dict[str, NDArray[np.generic]]":
    """Return the arrays of numbers in an .npz by name, or that of an .npy under ``""``; nothing is unpickled.

    Of an .npz, those of the ``names`` are read if any are given, and no others. Raises :class:`UserError` if the file
    is neither, damaged, or its arrays have more than ``most`` bytes together.
    """
    import zipfile

    left = most

    def array(file: Any, size: int) -> "NDArray[np.generic]":
        nonlocal left
        found = _array(file, size, left)
        left -= found.nbytes
        return found

    with open_regular(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python and NumPy think of odd headers
        try:
            if file.peek(6)[:6] == b"\x93NUMPY":
                return {"": array(file, os.fstat(file.fileno()).st_size)}
            arrays = {}
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    if names is None or name in names:
                        with archive.open(info) as member:
                            arrays[name] = array(member, info.file_size)
            return arrays
        except Exception as error:  # whatever zipfile, its decompressors and NumPy stumble over
            raise UserError(f"no arrays can be read from {path}: {reason(error)}") from None


def _array(file: Any, size: int, most: int) -> "NDArray[np.generic]":
    """Read an array of at most ``most`` bytes from a file of ``size``.

    NumPy's own reader would allocate what the header says before it looks at the file.
    """
    import numpy as np

    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError("its version is unknown")
    if dtype.kind not in "biuf" or any(side < 0 for side in shape) or len(shape) > _DEPTH:
        raise ValueError("it holds something else than numbers")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > most:
        raise ValueError(f"its arrays have more than {most:,} bytes")
    content = file.read(wanted) if wanted <= size else b""
    if len(content) < wanted:
        raise ValueError("it is cut short")
    return np.ndarray(shape, dtype, content, order="F" if fortran else "C")


def _check(value: Any, name: str, depth: int = 0) -> None:
    """Raise :class:`UserError` for what no valid document holds: deep nesting, huge integers, invalid text."""
    problem = ""
    if isinstance(value, str):
        problem = "" if value.isascii() or not _SURROGATES.search(value) else "it holds a text that is none"
    elif isinstance(value, Mapping | list):
        problem = "it is nested too deep" if depth >= _DEPTH else ""
        for each in () if problem else value:
            _check(each, name, depth + 1)
        for each in value.values() if isinstance(value, Mapping) and not problem else ():
            _check(each, name, depth + 1)
    elif isinstance(value, int) and not -_WHOLE < value < _WHOLE:
        problem = "it holds an integer of more than 64 bits"
    if problem:
        raise UserError(f"cannot read {name}: {problem}")


def reason(error: BaseException) -> str:
    """Return in one line what a library said of a file."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    text = " ".join(str(error).split())
    if "set_int_max_str_digits" in text:  # Python's own limit, before ours
        return "it holds an integer of more than 64 bits"
    return text[:200] or type(error).__name__
