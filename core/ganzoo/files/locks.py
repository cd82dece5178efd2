"""Locks on files and folders, which the system releases when their process ends, even if it is killed."""

import contextlib
import errno
import os
import socket
import stat
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from ganzoo.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

__all__ = ["Lock", "held", "is_held"]

_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)

_FAR = 2**30  # Windows locks bytes, which nobody else can read then: one that is not there


class Lock:
    """A lock file that names its owner: at most one process holds it, among all machines that see the folder.

    The file exists while the lock is held. After its owner was killed the file remains, but locks nothing. On a file
    system without locks every process gets the lock.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object has the lock."""
        return self._handle is not None

    def acquire(self) -> str | None:
        """Take the lock and return None; or return who has it, as "process 123 on host since 2026-01-31 12:00:00".

        Raises :class:`~ganzoo.UserError` if the file cannot be written.
        """
        while self._handle is None:
            try:
                handle = os.open(self.path, _FLAGS, 0o666)
            except OSError as error:
                raise UserError(f"cannot write {self.path}: {error.strerror or error}") from None
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise UserError(f"cannot write {self.path}: it is not a regular file")
            if not _try(handle):
                owner = os.read(handle, 300).decode(errors="replace").strip()
                os.close(handle)
                return owner if owner.isprintable() and owner else "another process"
            # The former owner deletes the file when it releases the lock. If it did so between our open() and our lock,
            # we have locked a file without a name, and another process can lock a new file of that name: try again.
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(handle), os.lstat(self.path)):
                    self._handle = handle
                    _held.add(self)
            if self._handle is None:
                os.close(handle)
        owner = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        with contextlib.suppress(OSError):  # on a full disk the lock is as good without its owner's name
            os.ftruncate(self._handle, 0)
            os.write(self._handle, owner.encode())
        return None

    def release(self) -> None:
        """Give the lock back, if it is held, and delete its file."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        if os.name == "posix":
            with contextlib.suppress(OSError):
                self.path.unlink()  # while the lock is held: after closing, the file could be another process's lock
            os.close(handle)
        else:  # an open file cannot be deleted, and one that another process has opened is left to it
            os.close(handle)
            with contextlib.suppress(OSError):
                self.path.unlink()

    def forget(self) -> None:
        """Close the file and leave the lock to the process that this one was forked from."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self.release()


_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _forget_all() -> None:
    # flock() locks belong to the open file, which a forked process shares. A data worker that outlives a killed parent
    # would keep the run locked, so it closes its copies; the parent's lock stays.
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Lock a file or folder itself, so that :func:`is_held` is true in other processes, where the system allows it."""
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        _try(handle)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Return whether a living process is in :func:`held` of this file or folder."""
    if fcntl is None:
        return False
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return not _try(handle)
    finally:
        os.close(handle)


def _try(handle: int) -> bool:
    """Lock an open file without waiting; return False if another has it. Without locks everybody is the first."""
    try:
        if fcntl is not None:
            # Not lockf: POSIX drops that lock when this process closes any handle of the file, after reading it, say.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(handle, _FAR, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
    except OSError as error:
        if fcntl is None:
            os.lseek(handle, 0, os.SEEK_SET)
        return error.errno not in _TAKEN
    return True
