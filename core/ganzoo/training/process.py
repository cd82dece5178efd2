"""Settings of the process that make training on a CPU faster."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ganzoo.errors import UserError

__all__ = ["alone", "fast_process"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""

_LARGEST = 32 * 2**20
"""The largest block that glibc can be told to keep."""


_training = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Raise :class:`UserError` if another thread of this process is training.

    torch's random state, which decides a training's weights and latents, is that of the process.
    """
    if not _training.acquire(blocking=False):
        raise UserError("another thread trains already, and both would draw from one random state: take a process each")
    try:
        yield
    finally:
        _training.release()


@contextmanager
def fast_process() -> Iterator[None]:
    """While entered, freed memory is kept for the next tensor, and denormal numbers are zero.

    Each training step frees and allocates the same feature maps. glibc gives large blocks back to the system at once,
    which fills them with zeros again, page by page, when they are next written. Denormal numbers, below 1e-38, arise
    in Adam's moments and in the gradients of saturated sigmoids; a processor is many times slower with them.
    """
    libc = _glibc()
    # There is no function that returns this setting, so a product is looked at.
    flushed = bool((torch.full((1,), 1e-39) * 1.0 == 0).item())
    if libc is not None:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        if libc is not None:
            # Setting one threshold ends their adjustment by glibc, for good; this is where it would end by itself.
            libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
            libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # TypeError: Windows
        return None
    return libc if hasattr(libc, "gnu_get_libc_version") else None
