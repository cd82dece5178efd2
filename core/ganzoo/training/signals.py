"""What tells a training to end: signals, and a file where a launcher cannot send any."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["STOP", "Signals"]

STOP = "GANZOO_STOP"
"""The environment variable that names the file with which a launcher tells a training to end."""


class Signals:
    """While entered, remembers the first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self._number = 0
        self._before: dict[int, Any] = {}
        self._file = os.environ.get(STOP)

    @property
    def number(self) -> int:
        """The number of the signal that has come, SIGTERM if the launcher's file is there, or 0."""
        if self._file and not self._number and os.path.exists(self._file):
            return signal.SIGTERM
        return self._number

    def __enter__(self) -> Signals:
        # Python allows handlers to be set in the main thread only; in other threads a training cannot be interrupted.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)  # None: a handler that is not Python's
        self._before.clear()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        # With the former handlers back, a second Ctrl-C works even if the current step hangs.
        self.__exit__()
