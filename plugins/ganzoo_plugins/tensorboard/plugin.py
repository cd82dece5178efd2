"""Writes what a run logs as TensorBoard events under ``tb/`` in its folder: ``tensorboard --logdir runs``."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ganzoo import hookimpl

_files: dict[Path, "_Events"] = {}


@hookimpl
def ganzoo_fit_start(run: Path, step: int) -> None:
    """Open the event file; on resume, hide what was logged after the checkpoint."""
    _files[run] = _Events(run / "tb", step)


@hookimpl
def ganzoo_log(run: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Add the scalars."""
    from torch.utils.tensorboard.summary import scalar

    for name, value in metrics.items():
        _files[run].add(step, summary=scalar(name, value))


@hookimpl
def ganzoo_samples(run: Path, step: int, path: Path) -> None:
    """Add the grid of samples."""
    import numpy as np
    from PIL import Image
    from torch.utils.tensorboard.summary import image

    with Image.open(path) as grid:
        _files[run].add(step, summary=image("samples", np.asarray(grid.convert("RGB")), dataformats="HWC"))


@hookimpl
def ganzoo_fit_end(run: Path, outcome: str) -> None:
    """Close the event file; raises OSError if something of a training that has not failed is not in it."""
    problem = _files.pop(run).close()
    if problem is not None and outcome != "failed":
        raise problem


class _Events:
    """An event file, written at once: torch's SummaryWriter has a thread for it, which prints what goes wrong there.

    When the disk is full, it is the training that says so, at the next file that matters. Nothing more is added then.
    """

    def __init__(self, folder: Path, step: int) -> None:
        import socket

        from tensorboard.compat.proto.event_pb2 import SessionLog

        self.file: BinaryIO | None = None
        self.problem: OSError | None = None
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(exist_ok=True)
            self.file = (folder / name).open("xb")
        except OSError as error:
            self.problem = error
        self.add(0, file_version="brain.Event:2")
        if step:
            self.add(step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, **what: Any) -> None:
        """Add an event of the step, as the fields of its protocol buffer."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self.file is not None and self.problem is None:
            try:
                RecordWriter(self.file).write(Event(wall_time=time.time(), step=step, **what).SerializeToString())
                self.file.flush()
            except OSError as error:
                self.problem = error

    def close(self) -> OSError | None:
        """Close the file, and return what went wrong in it."""
        if self.file is not None:
            with suppress(OSError):  # of what could not be written before
                self.file.close()
        return self.problem
