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


_OFTEN, _SELDOM = 5, 60  # seconds between plain lines, at first and in a long training


class Progress:
    """Shows the step, samples per second, losses and the time left, on stderr: as a bar on a terminal, or in lines.

    A line comes after the first step, and then they become rarer: a minute apart after 20 minutes.
    """

    def __init__(self, total: int, start: int, *, quiet: bool = False) -> None:
        self.total, self.start, self.quiet = total, start, quiet
        self.text = ""  # the figures that were known last
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

    def advance(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the state after ``step``, with its figures if there are any."""
        if self.quiet:
            return
        if metrics:
            parts = [f"{metrics['samples_per_second']:,.0f} samples/s", _losses(metrics)]
            if (used := metrics.get("peak_memory_mib")) is not None:
                parts.append(f"{used:,.0f} MiB")
            self.text = "  ".join(filter(None, parts))
        if self.bar is not None:
            self.bar.update(self.task, completed=step, description=self.text)
            return
        now, parts = time.perf_counter(), [f"step {step}/{self.total}", self.text]
        if self.spoke is not None:
            since, before = self.spoke
            if step < self.total and now - since < min(max((now - self.began) / 20, _OFTEN), _SELDOM):
                return
            pace = (now - since) / max(step - before, 1)  # without the first step, which takes longer than others
            self.pace = pace if self.pace is None else (self.pace + pace) / 2
            parts.append(f"{_clock(self.pace * (self.total - step))} left")
        print("  ".join(filter(None, parts)), file=sys.stderr, flush=True)
        self.spoke = (now, step)


def _losses(metrics: Mapping[str, float]) -> str:
    losses = {key.removesuffix("/loss"): value for key, value in metrics.items() if key.endswith("/loss")}
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
