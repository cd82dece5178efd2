"""The one way in and out for files: guarded reading of what comes from outside, atomic writing of what is ours.

What is read may have been made by anybody. So only regular files are opened (a FIFO or a device would block for ever),
their size is limited before a byte is read, nesting and numbers are checked, and whatever a parser stumbles over is one
:class:`~ganzoo.UserError`.
"""

import csv
import json
import math
import os
import stat
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ganzoo.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "atomic_path",
    "fsync_folder",
    "open_regular",
    "parse_json",
    "read_arrays",
    "read_bytes",
    "read_csv",
    "read_json",
    "read_text",
    "read_toml",
    "write_atomic",
]

LIMIT = 2**26
"""Bytes of a document, unless the caller says otherwise."""

ARRAYS = 2**31
"""Bytes of the arrays in a file."""

_DEPTH = 32  # how deep tables and lists may be nested
_WHOLE = 2**64  # no honest number of a document is larger


def open_regular(path: Path, most: int | None = None) -> BinaryIO:
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
        raise UserError(f"cannot read {path!s}: {error}") from None
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


def read_bytes(path: Path, most: int = LIMIT) -> bytes:
    """Return the content of a regular file; raises :class:`UserError` as :func:`open_regular` does."""
    with open_regular(path, most) as file:
        try:
            content = file.read(most + 1)  # it may have grown since
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) > most:
        raise UserError(f"cannot read {path}: it has more than {most:,} bytes")
    return content


def read_text(path: Path, most: int = LIMIT) -> str:
    """Return the UTF-8 text of a regular file, without a byte order mark."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def read_toml(path: Path, most: int = LIMIT) -> dict[str, Any]:
    """Read a TOML file; raises :class:`UserError` if it is missing, no TOML, or holds what is out of bounds."""
    text = read_text(path, most)
    try:
        document = tomllib.loads(text)
        _check(document)
    except (ValueError, RecursionError) as error:  # a ValueError that is no TOMLDecodeError: an endless integer
        raise UserError(f"{path} is not TOML: {_reason(error)}") from None
    return document


def read_json(path: Path, most: int = LIMIT) -> Any:
    """Read a JSON file; raises :class:`UserError` if it is missing, no JSON, or holds what is out of bounds."""
    return parse_json(read_text(path, most), str(path))


def parse_json(text: str, name: str) -> Any:
    """Parse JSON that came from the file ``name``; numbers that are not finite are allowed, as Python writes them.

    Raises :class:`UserError` if it is none, is nested too deep, or holds an integer beyond 64 bits.
    """
    try:
        document = json.loads(text)
        _check(document)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON: {_reason(error)}") from None
    return document


def read_csv(path: Path, most: int = LIMIT) -> list[list[str]]:
    """Return the rows of a CSV file, empty lines as empty rows so that row ``i`` starts at line ``i + 1`` or later.

    Raises :class:`UserError` if it cannot be read or is no CSV.
    """
    text = read_text(path, most)
    try:
        return list(csv.reader(text.splitlines(keepends=True), strict=True))
    except csv.Error as error:
        raise UserError(f"{path} is not CSV: {error}") from None


def read_arrays(path: Path, most: int = ARRAYS) -> "dict[str, NDArray[np.generic]]":
    """Return the arrays of an .npz by name, or that of an .npy under ``""``; nothing is unpickled.

    Raises :class:`UserError` if it is neither or damaged, or if the arrays have more than ``most`` bytes together.
    """
    import zipfile
    import zlib

    import numpy as np

    def array(file: Any) -> "NDArray[np.generic]":
        nonlocal most
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in header:
            raise ValueError("its version is unknown")
        shape, fortran, dtype = header[version](file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or dtype.itemsize == 0 or any(side < 0 for side in shape) or len(shape) > 32:
            raise ValueError("it holds something else than numbers")
        if size > most:
            raise ValueError(f"its arrays have more than the limit of {ARRAYS:,} bytes")
        most -= size
        content = file.read(size)
        if len(content) < size:
            raise ValueError("it is cut short")
        found: NDArray[np.generic] = np.frombuffer(content, dtype)
        return found.reshape(shape, order="F" if fortran else "C")

    try:
        with open_regular(path) as file:
            if path.suffix.lower() == ".npy":
                return {"": array(file)}
            with zipfile.ZipFile(file) as archive:
                arrays = {}
                for name in archive.namelist():
                    with archive.open(name) as member:
                        arrays[name.removesuffix(".npy")] = array(member)
                return arrays
    except UserError:
        raise
    except (
        OSError, ValueError, EOFError, SyntaxError, TypeError, KeyError, RuntimeError, NotImplementedError,
        MemoryError, OverflowError, RecursionError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise UserError(f"no arrays can be read from {path}: {_reason(error)}") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is fsynced and renamed, on failure removed.

    Raises :class:`UserError` if the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from None
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write text (as UTF-8) or bytes to ``path`` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def fsync_folder(folder: Path) -> None:
    """Make renames inside the folder durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check(value: Any, depth: int = 0) -> None:
    """Raise ValueError for what no document of ours holds: deep nesting, endless integers."""
    if depth > _DEPTH:
        raise ValueError("it is nested too deep")
    if isinstance(value, Mapping):
        for each in value.values():
            _check(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, depth + 1)
    elif isinstance(value, int) and not -_WHOLE < value < _WHOLE:
        raise ValueError("it holds an integer of more than 64 bits")


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
