"""The batch size of large requests: measured while they are served, and remembered."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from statistics import median

from .cache import cache_folder
from .file_checks import read

__all__ = ["LARGE", "Batching"]

LARGE = 256
"""Samples from which on it pays to compute several batches at once."""

_USUAL, _USUAL_ON_DEVICES = 64, 256  # for small requests, as long as nothing is known
_WHOLE = 16  # samples up to which a request is computed at once
_SIZES = (4, 8, 16, 32, 64, 128, 256, 512)
_SIZES_ON_DEVICES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_FROM = 512  # samples; smaller requests are not used to learn from
_RUNS, _SAMPLES = 4, 256  # at least, of each size; the first run pays for allocations and does not count
_GAIN = 0.99  # of the time a sample: what a larger batch must save to be worth its memory
# Bytes of samples at a time, on a CPU and on other devices; the maps inside of a network are several times as large.
_BYTES, _BYTES_ON_DEVICES = 1 << 24, 1 << 28
_KEPT = 500  # models in the file
_CACHE = 1 << 20  # bytes of the file


class Batching:
    """The micro-batch at which a model is fastest on this machine.

    The first large requests are served in batches of all sizes in turn, and each batch is timed. Nothing is computed
    only for measuring. Sizes alternate, so that a machine that is slow for a while is slow for all of them. All sizes
    are tried, since the time has several local minima: caches favor small batches, matrix products large ones. The size
    found is kept in the cache folder under ``key``, which contains all that it depends on. ``sample_bytes`` is the size
    of one sample; ``abreast`` batches are computed at once. ``on_device`` is for others than the CPU, which take larger
    batches. Objects may be used by several threads.
    """

    def __init__(self, key: str, sample_bytes: int, abreast: int = 1, *, on_device: bool = False) -> None:
        self._key, self._abreast = key, abreast
        sizes, most, usual = _SIZES, _BYTES, _USUAL
        if on_device:
            sizes, most, usual = _SIZES_ON_DEVICES, _BYTES_ON_DEVICES, _USUAL_ON_DEVICES
        self._sizes = [size for size in sizes if size * sample_bytes * abreast <= most] or [1]
        self._usual = min(usual, self._sizes[-1])
        self._times: dict[int, list[float]] = {size: [] for size in self._sizes}
        self._lock = threading.Lock()
        self.best: int | None = _remembered().get(key)

    def next(self, left: int, n: int) -> int:
        """Return how many to compute next of a request for ``n``, of which so many are left."""
        if self.best is None and n >= _FROM:
            return min(self._candidate(), left)
        size = self._usual if self.best is None or n <= _WHOLE else self.best
        if n >= LARGE:  # so that there is one for everybody
            size = min(size, -(-n // self._abreast))
        return min(size, left)

    def record(self, size: int, seconds: float) -> None:
        """Learn that a batch of this size took so long."""
        with self._lock:
            if self.best is not None or size not in self._times:
                return
            self._times[size].append(seconds / size)
            # The median, since single runs are disturbed by other processes; the smallest size within 1 % of the best,
            # since a larger batch costs memory and delays the first result of a stream.
            if all(len(times) >= _runs(size) for size, times in self._times.items()):
                costs = {size: median(times[1:]) for size, times in self._times.items()}
                least = min(costs.values())
                self.best = next(size for size, cost in costs.items() if _GAIN * cost <= least)
                _remember(self._key, self.best)

    def exclude(self, size: int) -> None:
        """Learn that memory does not suffice for a batch of this size."""
        with self._lock:
            self._sizes = [each for each in self._sizes if each < size] or [max(1, size // 2)]
            self._times = {each: self._times.get(each, []) for each in self._sizes}
            self._usual = min(self._usual, self._sizes[-1])
            if self.best is not None and self.best >= size:
                self.best = None

    def _candidate(self) -> int:
        """Return the size that is to be timed next: that with the smallest share of the runs it needs."""
        return min(self._sizes, key=lambda size: len(self._times[size]) / _runs(size))


def _runs(size: int) -> int:
    return max(_RUNS, _SAMPLES // size)


def _remembered() -> dict[str, int]:
    """Return what is in the file, nothing if it cannot be read."""
    try:
        content = json.loads(read(cache_folder() / "batches.json", "the cache", _CACHE))
        return {
            str(key): size for key, size in content.items() if type(size) is int and 1 <= size <= _SIZES_ON_DEVICES[-1]
        }
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _remember(key: str, size: int) -> None:
    """Add a line to the file; where it cannot be written, the size is measured again next time."""
    # Read again and replaced as a whole: another process may have added a line, and no reader sees half a file. If two
    # write at the same moment, one line is lost and measured again.
    rows = list(({**_remembered()} | {key: size}).items())[-_KEPT:]
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=cache_folder(), prefix="batches.", suffix=".json")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(dict(rows), file, indent=0)
            os.replace(name, cache_folder() / "batches.json")
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
