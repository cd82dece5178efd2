"""Locks on files and folders, which the system gives back when their process dies, however it dies."""

import contextlib
import errno
import os
import socket
import stat
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
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
    """A lock file that says who has it: at most one process of all machines that see the folder.

    It is there as long as the lock is held, or after its holder was killed; then it locks nothing. Where a file
    system has no locks, everybody gets it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
            # Whoever had it may have deleted the file while we waited for the lock: then it is the lock of nobody.
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
                self.path.unlink()  # while it is held: afterwards it could be another's
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
    # A forked process shares its parent's locks, and data workers may outlive a parent that was killed.
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder itself, which :func:`is_held` tells others, where the system can."""
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
            # Not lockf: that lock would go when this process closes the file anywhere else, after reading it, say.
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
