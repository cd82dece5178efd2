"""Atomic writing of files, and one clear sentence when the disk is full or cannot be written."""

import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from ganzoo.errors import GanzooError, UserError
from ganzoo.files.locks import held, is_held
from ganzoo.files.reading import reason

__all__ = [
    "append_line",
    "atomic_folder",
    "atomic_path",
    "check_writable",
    "fsync_folder",
    "refuse_links",
    "remove",
    "remove_leftovers",
    "temporary_path",
    "write_atomic",
    "writing",
]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
"""What systems say when a file cannot become longer, or cannot be written any more."""

_LEFT = re.compile(
    r"\..+\.ganzoo-[0-9a-f]{8}(\.[^.]+)?"
    r"|\.step-[0-9]+\.tmp|\.last\.\w+|\.[0-9]+(-\w+)?\.png\.\w+\.png"  # of the first version
)
"""Names of files and folders that are being written."""


@contextmanager
def writing(path: str | PathLike[str], name: str = "") -> Iterator[None]:
    """Turn whatever a library raises because ``path`` cannot be written into one :class:`UserError`.

    It calls it ``name``, or else by its path. What has nothing to do with the disk is raised as it is.
    """
    try:
        yield
    except GanzooError:
        raise
    except Exception as error:
        reason = _refusal(error, Path(path).parent)
        if not reason:
            raise
        raise UserError(f"cannot write {name or path}: {reason}") from None


@contextmanager
def atomic_path(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is fsynced and renamed, on failure removed.

    A symbolic link of that name is replaced and not followed. Raises :class:`UserError` if the folder cannot be written
    or the disk is full.
    """
    path = Path(path)
    with temporary_path(path) as temporary:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        mode = temporary.stat().st_mode
        yield temporary
        # The content reaches the disk before the name does. Without the first fsync, a power cut after the rename could
        # leave an empty file; without the second one, the rename itself could be lost.
        _finish(temporary, mode)
        temporary.replace(path)
        fsync_folder(path.parent)


def check_writable(path: str | PathLike[str]) -> None:
    """Raise :class:`UserError` if a file cannot be written to ``path``: before hours are spent on what goes into it."""
    with temporary_path(path):
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")


@contextmanager
def atomic_folder(path: str | PathLike[str], name: str = "") -> Iterator[Path]:
    """Like :func:`atomic_path` for a folder of files; it replaces an existing one, and errors call it ``name``."""
    path = Path(path)
    with temporary_path(path, name, folder=True) as temporary:
        mode = temporary.stat().st_mode & 0o666
        yield temporary
        for file in temporary.iterdir():
            _finish(file, mode)
        fsync_folder(temporary)
        # rename() does not replace a folder that is not empty. For a moment there is no folder of that name, which
        # callers have to allow for.
        remove(path)
        temporary.rename(path)
        fsync_folder(path.parent)


@contextmanager
def temporary_path(path: str | PathLike[str], name: str = "", *, folder: bool = False) -> Iterator[Path]:
    """Yield an empty file or folder beside ``path``, and remove it afterwards if it still exists.

    If the process is killed before, :func:`remove_leftovers` finds it. Modes are those that the umask says. Errors are
    those of :func:`writing`.
    """
    path, made = Path(path), list[Path]()
    temporary = _aside(path)
    try:
        with writing(path, name):
            _make_folder(path.parent, made)
            if folder:
                temporary.mkdir()
            else:
                os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        # It is locked while it is written: remove_leftovers() of another process can then tell it from what a killed
        # process left behind.
        with writing(path, name), held(temporary):
            yield temporary
    finally:
        _remove(temporary)
        for each in reversed(made):  # if nothing could be written
            with suppress(OSError):  # it is not empty
                each.rmdir()


def remove_leftovers(folder: str | PathLike[str]) -> None:
    """Remove half-written files of killed processes from a folder; files that are being written now are kept."""
    with suppress(OSError):
        for path in [Path(entry.path) for entry in os.scandir(folder) if _LEFT.fullmatch(entry.name)]:
            if not is_held(path):
                _remove(path)


def remove(path: str | PathLike[str]) -> None:
    """Delete a file or folder if it exists; after a crash, either all of it or nothing is left under its name."""
    # Deleting a folder takes many operations: renamed first, it is never seen with half of its files.
    with suppress(OSError):
        _remove(Path(path).rename(_aside(Path(path))))


def write_atomic(path: str | PathLike[str], data: bytes | str) -> None:
    """Write text (as UTF-8) or bytes to ``path`` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def append_line(path: str | PathLike[str], line: str) -> None:
    """Append a line to a text file, after ending one that a crash has cut short; on failure the file is as it was.

    Raises :class:`UserError` if the disk is full.
    """
    with writing(path), Path(path).open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        data = memoryview((b"" if file.read(1) in (b"", b"\n") else b"\n") + line.encode() + b"\n")
        try:
            while data:  # a disk may take a part of it, and refuse the rest
                data = data[file.write(data) :]
        except OSError:
            file.truncate(end)
            raise


def refuse_links(folder: str | PathLike[str]) -> None:
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


def fsync_folder(folder: str | PathLike[str]) -> None:
    """Make renames inside the folder durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refusal(error: Exception, folder: Path) -> str:
    """Return why the disk refused to write, if that is what the error comes from; else an empty string."""
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
    return reason(error) if isinstance(error, OSError) else ""


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make a folder and its parents, and make each durable, as the files in it will be; add them to ``made``."""
    if not folder.is_dir():
        _make_folder(folder.parent, made)
        try:
            folder.mkdir()
            made.append(folder)
        except FileExistsError:
            if not folder.is_dir():  # or another process has made it
                raise UserError(f"cannot write into {folder}: it is not a folder") from None
        fsync_folder(folder.parent)


def _aside(path: Path) -> Path:
    """Return an unused name beside ``path`` with the same suffix, which :data:`_LEFT` recognizes.

    Libraries choose a file format by the suffix, and a rename is atomic only within one folder.
    """
    return path.with_name(f".{path.name}.ganzoo-{secrets.token_hex(4)}{path.suffix}")


def _finish(file: Path, mode: int) -> None:
    """Give a file that a library has written the mode that the umask says, and its content to the disk."""
    if file.stat().st_mode & 0o777 != mode & 0o777:  # safetensors lets nobody else read what it writes
        file.chmod(mode & 0o777)
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
