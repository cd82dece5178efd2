"""Writes what a run logs as TensorBoard events under ``tb/`` in its folder: ``tensorboard --logdir runs``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo import hookimpl

_writers: dict[Path, Any] = {}


@hookimpl
def ganzoo_fit_start(run: Path, step: int) -> None:
    """Open the event file; on resume, hide what was logged after the checkpoint."""
    from torch.utils.tensorboard import SummaryWriter

    _writers[run] = SummaryWriter(str(run / "tb"), purge_step=step + 1 if step else None)


@hookimpl
def ganzoo_log(run: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Add the scalars."""
    for name, value in metrics.items():
        _writers[run].add_scalar(name, value, step)


@hookimpl
def ganzoo_samples(run: Path, step: int, path: Path) -> None:
    """Add the sample sheet."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        _writers[run].add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")


@hookimpl
def ganzoo_fit_end(run: Path) -> None:
    """Close the event file."""
    _writers.pop(run).close()
