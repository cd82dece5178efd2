"""Writes what a run logs as TensorBoard events under ``tb/`` in its folder: ``tensorboard --logdir runs``."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ganzoo import Tracker


class TensorBoard(Tracker):
    """Scalars and grids of samples as events; what was logged after the checkpoint is hidden on resume."""

    default = True

    def start(self, run: Path, config: Mapping[str, Any], step: int) -> None:
        self.events = _Events(run / "tb", step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        from torch.utils.tensorboard.summary import scalar

        for name, value in metrics.items():
            self.events.add(step, summary=scalar(name, value))

    def samples(self, step: int, path: Path) -> None:
        import numpy as np
        from PIL import Image
        from torch.utils.tensorboard.summary import image

        with Image.open(path) as grid:
            self.events.add(step, summary=image("samples", np.asarray(grid.convert("RGB")), dataformats="HWC"))

    def finish(self, step: int, outcome: str) -> None:
        # Raised last: something of a training that has not failed is not in the file.
        problem = self.events.close()
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
