"""Checks of trackers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from ganzoo.errors import UserError
from ganzoo.files import write_atomic
from ganzoo.gan.tracker import Tracker
from ganzoo.plugin.registry import Entry
from ganzoo.testing.general import build_settings
from ganzoo.testing.results import Check, Fault, Skip

__all__ = ["checks"]

CONFIG = {"plugin": "dcgan", "steps": 100, "model": {"width": 8, "policy": [], "optimizer": {"lr": 1e-3}}, "metric": {}}
"""What a config.toml says, the empty values in it too."""

METRICS = {"generator/loss": 0.7, "discriminator/loss": 1.3, "samples_per_second": 100.0}

Build = Callable[[], Tracker]


def checks(entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a tracker."""

    def build() -> Tracker:
        return cast(Tracker, entry.spec.load()(build_settings(entry, sets)))

    yield Check("build", lambda: built(build), vital=True)
    yield Check("training", lambda: follows(build), vital=True)
    yield Check("resume", lambda: resumes(build))
    yield Check("early end", lambda: ends_early(build))
    yield Check("run folder", lambda: leaves_the_run(build))


@contextmanager
def _run() -> Iterator[Path]:
    """Yield a run folder as a training leaves it."""
    from PIL import Image

    with TemporaryDirectory(prefix="ganzoo-check-", ignore_cleanup_errors=True) as folder:
        run = Path(folder) / "0001-dcgan-digits"
        (run / "samples").mkdir(parents=True)
        for name in ("config.toml", "metrics.jsonl", "README.md"):
            write_atomic(run / name, f"{name} is written by the training\n")
        for step in (0, 50, 100):
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(run / "samples" / f"{step:06d}.png")
        yield run


def _told(tracker: Tracker, run: Path, steps: Sequence[int], outcome: Any) -> None:
    tracker.start(run, CONFIG, steps[0])
    for step in steps:
        tracker.samples(step, run / "samples" / f"{step:06d}.png")
        tracker.log(step, METRICS | ({"fid/fid": 30.0} if step else {}))
    tracker.finish(steps[-1], outcome)


def built(build: Build) -> None:
    """It can be made, or says in a sentence what is missing; nothing is written, since a dry run makes trackers too."""
    with TemporaryDirectory(prefix="ganzoo-check-") as folder, chdir(folder):
        try:
            build()
        except UserError as error:
            raise Skip(str(error)) from None
        if written := sorted(os.listdir()):
            raise Fault(f"its constructor writes {written[0]} into the current folder; write in start()")


def follows(build: Build) -> None:
    """It takes what a training tells it, from the first step to the last."""
    with _run() as run:
        _told(build(), run, (0, 50, 100), "done")


def resumes(build: Build) -> None:
    """Another one, made for the same run, goes on after a checkpoint, and is told of some steps again."""
    with _run() as run:
        _told(build(), run, (0, 50, 100), "interrupted")
        _told(build(), run, (50, 100), "done")


def ends_early(build: Build) -> None:
    """A training that fails in its first step, before anything is logged, is no reason to fail too."""
    with _run() as run:
        tracker = build()
        tracker.start(run, CONFIG, 0)
        tracker.finish(0, "failed")


def leaves_the_run(build: Build) -> None:
    """What the training itself writes in its folder stays as it is."""
    with _run() as run:
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        _told(build(), run, (0, 50, 100), "done")
        for path, content in before.items():
            if not path.is_file() or path.read_bytes() != content:
                raise Fault(f"it changes {path.relative_to(run)}, which is the training's")
