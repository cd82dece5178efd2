"""Output on a terminal: printing, logging, and progress."""

from __future__ import annotations

import builtins
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from ganzoo_runtime.text import shown

__all__ = ["Progress", "escape_record", "print"]


def print(*values: object, sep: str = " ", end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Print like Python's own, but escape control characters and what the terminal's encoding does not have.

    Names come from folders and files that may be anybody's. Whatever the program says goes through here.
    """
    stream = sys.stdout if file is None else file
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = shown(sep.join(map(str, values))).encode(encoding, "backslashreplace").decode(encoding)
    builtins.print(text, end=end, file=stream, flush=flush)


def escape_record(record: logging.LogRecord) -> bool:
    """Escape a log record in the same way; a logging filter that drops no record."""
    record.msg, record.args = shown(record.getMessage()), None
    return True


class Progress:
    """Shows the step, samples per second, losses and the time left, on stderr."""

    def __init__(self, total: int, start: int, *, quiet: bool = False) -> None:
        self.total, self.start, self.quiet = total, start, quiet
        self.spoke: tuple[float, int] | None = None  # when the last line was written, and at which step
        self.pace: float | None = None  # seconds a step, of late
        self.began = time.perf_counter()
        self.bar: Any = None

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Rich

            self.bar = Rich(
                TextColumn("{task.completed}/{task.total}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
            )
            self.bar.start()
            self.task = self.bar.add_task("", total=self.total, completed=self.start)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, step: int) -> None:
        """Move the bar to the step; plain lines wait for :meth:`update`."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step)

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the state after ``step``; plain lines come at most every five seconds, and at the end."""
        if self.quiet:
            return
        losses = [f"{key.removesuffix('/loss')} {value:.3f}" for key, value in metrics.items() if key.endswith("/loss")]
        text = f"{metrics['samples_per_second']:,.0f} samples/s  {'  '.join(losses)}"
        if (used := metrics.get("peak_memory_mib")) is not None:
            text += f"  {used:,.0f} MiB"
        if self.bar is not None:
            self.bar.update(self.task, completed=step, description=text)
            return
        now = time.perf_counter()
        if self.spoke is None or now - self.spoke[0] >= 5 or step == self.total:
            since, before = self.spoke or (self.began, self.start)
            pace = (now - since) / max(step - before, 1)
            self.pace = pace if self.pace is None else (self.pace + pace) / 2
            left = _clock(self.pace * (self.total - step))
            print(f"step {step}/{self.total}  {text}  {left} left", file=sys.stderr, flush=True)
            self.spoke = (now, step)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
