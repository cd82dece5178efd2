"""The one way in and out for files: guarded reading of what comes from outside, atomic writing of what is ours.

What is read may have been made by anybody. So only regular files are opened (a FIFO or a device would block for ever),
their size is limited before a byte is read, nesting and numbers are checked, and whatever a parser stumbles over is one
:class:`~ganzoo.UserError`.
"""

import csv
import errno
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
import tomllib
import warnings
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import GanzooError, UserError
from ganzoo.locks import held, is_held

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "append_line",
    "atomic_folder",
    "atomic_path",
    "fsync_folder",
    "open_regular",
    "parse_json",
    "read_arrays",
    "read_bytes",
    "read_csv",
    "read_json",
    "read_records",
    "read_text",
    "read_toml",
    "refuse_links",
    "remove",
    "remove_leftovers",
    "temporary_path",
    "write_atomic",
    "writing",
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

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
"""What systems say when a file cannot become longer, or cannot be written any more."""

_LEFT = re.compile(
    r"\..+\.ganzoo-[0-9a-f]{8}(\.[^.]+)?"
    r"|\.step-[0-9]+\.tmp|\.last\.\w+|\.[0-9]+(-\w+)?\.png\.\w+\.png"  # of the first version
)
"""Names of files and folders that are being written."""


def open_regular(path: Path, most: int | None = None) -> io.BufferedReader:
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
    """Return the UTF-8 text of a regular file, without a byte order mark; raises :class:`UserError` if it has none."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; raises :class:`UserError` if it is missing, no TOML, or holds what is out of bounds."""
    text = read_text(path, _TOML)
    if _LONG_KEY.search(text):  # the parser's time for a dotted key grows with the square of its length
        raise UserError(f"cannot read {path}: it is nested too deep")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError that is no TOMLDecodeError: an endless integer
        raise UserError(f"{path} is not TOML: {_reason(error)}") from None
    _check(document, str(path))
    return document


def read_json(path: Path, most: int = LIMIT) -> Any:
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
        raise UserError(f"{name} is not JSON: {_reason(error)}") from None
    _check(document, name)
    return document


def read_records(path: Path) -> Iterator[dict[str, Any]]:
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


def _line(file: io.BufferedReader, path: Path) -> bytes:
    try:
        return file.readline(_LINE)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def read_csv(path: Path, most: int = TABLE) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file with the number of the line that each ends in; empty lines are left out.

    Raises :class:`UserError` if it cannot be read or is no CSV.
    """
    with io.TextIOWrapper(open_regular(path, most), encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            for row in rows:
                if row:
                    yield rows.line_num, row
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text: {error.reason} after line {rows.line_num}") from None
        except csv.Error as error:
            raise UserError(f"{path} is not CSV: {error} in line {rows.line_num}") from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def read_arrays(
    path: Path, names: Container[str] | None = None, most: int = ARRAYS
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
            raise UserError(f"no arrays can be read from {path}: {_reason(error)}") from None


def _array(file: Any, size: int, most: int) -> "NDArray[np.generic]":
    """Read an array of at most ``most`` bytes from a file of ``size``: NumPy's own would trust the header."""
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


@contextmanager
def writing(path: Path, name: str = "") -> Iterator[None]:
    """Turn whatever a library raises because ``path`` cannot be written into one :class:`UserError`.

    It calls it ``name``, or else by its path. What has nothing to do with the disk is raised as it is.
    """
    try:
        yield
    except GanzooError:
        raise
    except Exception as error:
        reason = _refusal(error, path.parent)
        if not reason:
            raise
        raise UserError(f"cannot write {name or path}: {reason}") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is fsynced and renamed, on failure removed.

    A symbolic link of that name is replaced and not followed. Raises :class:`UserError` if the folder cannot be written
    or the disk is full.
    """
    with temporary_path(path) as temporary:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        fsync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path, name: str = "") -> Iterator[Path]:
    """The same for a folder of files, which takes the place of one that is there already; errors call it ``name``."""
    with temporary_path(path, name, folder=True) as temporary:
        yield temporary
        mode = temporary.stat().st_mode & 0o666
        for file in temporary.iterdir():
            if file.stat().st_mode & 0o666 != mode:  # safetensors lets nobody else read what it writes
                file.chmod(mode)
            _sync(file)
        fsync_folder(temporary)
        remove(path)
        temporary.rename(path)
        fsync_folder(path.parent)


@contextmanager
def temporary_path(path: Path, name: str = "", *, folder: bool = False) -> Iterator[Path]:
    """Yield an empty file or folder beside ``path`` that is removed in the end, if it is still there.

    If the process is killed before, :func:`remove_leftovers` finds it. Modes are those that the umask says. Errors are
    those of :func:`writing`.
    """
    with writing(path, name):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _aside(path)
        if folder:
            temporary.mkdir()
        else:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        with writing(path, name), held(temporary):
            yield temporary
    finally:
        _remove(temporary)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left half-written in a folder; what one is writing just now stays."""
    with suppress(OSError):
        for path in [Path(entry.path) for entry in os.scandir(folder) if _LEFT.fullmatch(entry.name)]:
            if not is_held(path):
                _remove(path)


def remove(path: Path) -> None:
    """Delete a file or folder if it is there, so that a crash leaves all of it or nothing under its name."""
    with suppress(OSError):
        _remove(path.rename(_aside(path)))


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write text (as UTF-8) or bytes to ``path`` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, after ending one that a crash has cut short; on failure the file is as it was.

    Raises :class:`UserError` if the disk is full.
    """
    with writing(path), path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        data = memoryview((b"" if file.read(1) in (b"", b"\n") else b"\n") + line.encode() + b"\n")
        try:
            while data:  # a disk may take a part of it, and refuse the rest
                data = data[file.write(data) :]
        except OSError:
            file.truncate(end)
            raise


def refuse_links(folder: Path) -> None:
    """Raise :class:`UserError` if there is a symbolic link anywhere in a folder that is going to be written to.

    The folder may have come from elsewhere, and a link may lead to anywhere: to another's checkpoints, say.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (path := Path(place, name)).is_symlink():
                raise UserError(
                    f"{path} is a symbolic link, and nothing is written where one may lead; replace it with what it "
                    "leads to, or remove it"
                )


def fsync_folder(folder: Path) -> None:
    """Make renames inside the folder durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check(value: Any, name: str, depth: int = 0) -> None:
    """Raise :class:`UserError` for what no document holds: deep nesting, endless integers, texts that are none."""
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


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _refusal(error: Exception, folder: Path) -> str:
    """Return why the disk refused what ended in this error, or nothing if it did not."""
    if isinstance(error, OSError) and error.errno is not None and error.errno not in _FULL:
        return error.strerror or str(error)
    cause: BaseException | None = error
    while cause is not None:  # torch: "unexpected pos 704 vs 598", while an OSError was handled
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in _FULL:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    if (found := re.search(r"os error (\d+)", str(error))) and int(found[1]) in _FULL:  # safetensors, as all of Rust
        return os.strerror(int(found[1]))
    try:  # Others do not say at all. The half-written file is still there: does more fit beside it?
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as refused:
        if refused.errno in _FULL:
            return os.strerror(refused.errno)
    return _reason(error) if isinstance(error, OSError) else ""


def _aside(path: Path) -> Path:
    """Return a name beside ``path`` with its suffix that nobody has, and nobody but :data:`_LEFT` knows."""
    return path.with_name(f".{path.name}.ganzoo-{secrets.token_hex(4)}{path.suffix}")


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
