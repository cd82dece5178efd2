"""Ctrl-C, and SIGTERM as schedulers send it: the step is finished, a checkpoint is written, and nobody is left over."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image
from warm import Warm

from ganzoo import DataSpec, Points, Stream, TensorDataset
from ganzoo.runs import checkpoint
from ganzoo.runs.run import Run

RUN = Path("runs/0001-gan_fc-folder")
TRAIN = (
    *("train", "-p", "gan_fc", "--data", "folder", "--set", "data.path=images", "--set", "data.memory=0", "-q"),
    *("--set", "workers=2", "--set", "model.hidden=[4]", "--set", "batch_size=4", "--set", "log_every=1"),
    *("--set", "sample_every=1000000", "--set", "checkpoint_every=1000000", "--steps", "1000000"),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with images that data workers read."""
    (tmp_path / "images").mkdir()
    for index in range(8):
        Image.fromarray(np.full((8, 8), 30 * index, np.uint8)).save(tmp_path / "images" / f"{index}.png")
    return tmp_path


def train(warm: Warm, home: Path) -> int:
    """Start a training with data workers that goes on for ever, and return its process id after the first steps."""
    process = warm.start(home, *TRAIN)
    wait_for_more(home, 3)
    return process


def wait_for_more(home: Path, count: int = 20) -> None:
    """Wait until a training has logged so many steps more."""
    run = Run(home / RUN)
    before = len(run.metrics())
    within(60, lambda: len(run.metrics()) >= before + count)


def within(seconds: float, condition: Any) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers(process: int) -> list[int]:
    """Return the processes of the group beside its first, by /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group) == process and int(entry.name) != process and state != "Z":
                found.append(int(entry.name))
    return found


def gone(process: int) -> bool:
    return not workers(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_every_process_of_a_training(warm: Warm, home: Path, number: signal.Signals) -> None:
    process = train(warm, home)
    assert len(workers(process)) == 2
    os.killpg(process, number)
    ended = warm.wait(process)
    step, _ = checkpoint.load_state(checkpoint.latest(home / RUN / "checkpoints"))
    assert (ended.code, ended.out) == (128 + number, "")
    assert ended.sentence() == f"ganzoo: stopped after step {step}; go on with: ganzoo train --resume {RUN}"
    within(10, lambda: gone(process))
    assert not (home / RUN / "train.lock").exists()
    assert warm(home, "train", "--resume", RUN, "--steps", step + 2, "-q").code == 0


def test_a_signal_to_the_workers_alone_is_none_of_theirs(warm: Warm, home: Path) -> None:
    process = train(warm, home)
    for worker in workers(process):
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGINT)
    wait_for_more(home)
    assert len(workers(process)) == 2
    os.kill(process, signal.SIGTERM)
    assert warm.wait(process).code == 143
    within(10, lambda: gone(process))


def test_a_worker_obeys_its_parent_and_nobody_else() -> None:
    tensors = {"x": torch.zeros(4, 2)}
    dataset = TensorDataset(DataSpec("points", (Points(2),), 4), tensors)
    dataset.in_memory = False
    before = set(multiprocessing.active_children())
    stream = Stream(dataset, 2, 0, workers=1)
    (worker,) = set(multiprocessing.active_children()) - before
    next(stream)
    subprocess.run(["kill", str(worker.pid)], check=True)
    worker.join(0.5)
    next(stream)
    assert worker.is_alive()
    worker.terminate()  # as torch does with one that takes too long
    worker.join(20)
    assert worker.exitcode == 0


def test_workers_end_when_their_parent_is_killed(warm: Warm, home: Path) -> None:
    process = train(warm, home)
    os.kill(process, signal.SIGKILL)
    assert warm.wait(process).code == -signal.SIGKILL
    within(30, lambda: gone(process))


def test_the_second_signal_ends_what_hangs(warm: Warm, home: Path) -> None:
    process = train(warm, home)
    stopped = workers(process)
    for worker in stopped:
        os.kill(worker, signal.SIGSTOP)
    time.sleep(0.2)
    before = len(Run(home / RUN).metrics())
    os.kill(process, signal.SIGTERM)
    time.sleep(0.3)
    assert len(Run(home / RUN).metrics()) <= before + 4, "it waits for data"
    os.kill(process, signal.SIGTERM)
    assert warm.wait(process).code == -signal.SIGTERM
    for worker in stopped:
        os.kill(worker, signal.SIGKILL)


PLACES = {
    "before the first step": "ganzoo.training.loop.Loop.start_stream",
    "in the first step": "ganzoo.training.loop.Loop.advance",
    "while data is read": "ganzoo.data.stream.Stream.fetch",
    "while metrics are prepared": "ganzoo_plugins.metrics.modes.Modes.prepare",
    "while metrics are computed": "ganzoo_plugins.metrics.modes.Modes.__call__",
    "while a sheet is drawn": "ganzoo.images.grids.save_grid",
    "while a checkpoint is written": "ganzoo.runs.checkpoint.save",
}
EVERY = ("--set", "checkpoint_every=2", "--set", "sample_every=2", "--steps", "4", "-q")
DIGITS = ("train", "-p", "gan_fc", "--data", "digits", "--set", "model.hidden=[4]", *EVERY)
GAUSSIANS = (
    *("train", "-p", "gan_fc", "--data", "gaussians", "--set", "model.hidden=[4]", "--set", "data.size=100"),
    *("--set", "metric.modes.samples=100", *EVERY),
)


def signalling(monkeypatch: pytest.MonkeyPatch, where: str, number: int, times: int = 1) -> None:
    """Let signals arrive when a function is called for the first time in a run, which there is after the rehearsal."""
    module, _, name = where.rpartition(".")
    before = getattr(pkgutil.resolve_name(module), name)
    calls: list[int] = []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if not calls and Path("runs").is_dir():
            calls.append(1)
            for _ in range(times):
                signal.raise_signal(number)
        return before(*arguments, **named)

    monkeypatch.setattr(where, interrupted)


@pytest.mark.parametrize("place", PLACES)
def test_a_signal_at_any_place_ends_with_a_checkpoint(
    cli: Command, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    number = signal.SIGTERM
    signalling(monkeypatch, PLACES[place], number)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    outcome = cli(*(GAUSSIANS if "metrics" in place else DIGITS))
    assert (outcome.code, outcome.out) == (128 + number, "")
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    (run,) = Path("runs").iterdir()
    step, _ = checkpoint.load_state(checkpoint.latest(run / "checkpoints"))
    assert outcome.sentence() == f"ganzoo: stopped after step {step}; go on with: ganzoo train --resume {run}"
    assert 1 <= step < 4
    assert cli("train", "--resume", run, "-q").code == 0


def test_the_second_ctrl_c_ends_at_once(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    signalling(monkeypatch, "ganzoo.training.loop.Loop.advance", signal.SIGINT, times=2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = cli(*DIGITS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (outcome.code, outcome.out) == (130, "")
    assert "Traceback" not in outcome.err
    (run,) = Path("runs").iterdir()
    assert sorted(path.name for path in run.iterdir()) == ["config.toml", "metrics.jsonl", "samples", "tb"]
