"""Ray Train as a launcher, on a small cluster of its own on this machine; needs Ray, which is an extra."""

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from test_processes_that_end import CLEAN, QUIETLY, TRAIN, losses, needs_proc, reached, until, weights
from test_several_processes import ends, together
from typer.testing import CliRunner

from ganzoo.cli import app


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = CliRunner().invoke(app, [*TRAIN, "--launcher", "ray"])
    assert str(done.exception) == "--launcher ray needs Ray Train: pip install 'torch-ganzoo[ray]'"


def test_a_ray_that_does_not_start_is_one_sentence(monkeypatch):
    pytest.importorskip("ray.train")

    def init(*_, **__):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr("ray.init", init)
    done = CliRunner().invoke(app, [*TRAIN, "--launcher", "ray"])
    assert str(done.exception).startswith("Ray does not start on this machine: Exception: The current node timed out")


@pytest.fixture
def by_ray(tmp_path):
    """Start a training by Ray; what a test leaves of it is ended."""
    pytest.importorskip("ray.train")
    started = []

    def start(*more):
        command = (*TRAIN, *QUIETLY, "--processes", "2", "--launcher", "ray", "--out", str(tmp_path / "ray"), *more)
        environment = {**CLEAN, "OMP_NUM_THREADS": "1", "GANZOO_TIMEOUT": "300"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "ganzoo", *command],
                env=environment,
                cwd=tmp_path,
                start_new_session=True,
                **pipes,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            for pid in descendants(process.pid):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate()


def descendants(pid):
    children = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return [*children, *(each for child in children for each in descendants(child))]


def trainers(launcher):
    """Return the processes of Ray that train."""
    pids = descendants(launcher.pid)
    return [pid for pid in pids if b"RayTrainWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@needs_proc
@pytest.mark.slow
def test_two_workers_of_ray_are_two_of_torchrun(by_ray, tmp_path):
    """To the bit; and when one is killed, Ray starts all again, and they go on from the last checkpoint."""
    steps = ("--steps", "300")
    codes, said = ends(together("-m", "ganzoo", *TRAIN, *QUIETLY, *steps, "--out", str(tmp_path / "plain")))
    assert codes == [0, 0], said
    launcher = by_ray(*steps)
    until(lambda: reached(tmp_path / "ray") >= 10 or launcher.poll() is not None, 1000)
    os.kill(trainers(launcher)[1], signal.SIGKILL)
    before = reached(tmp_path / "ray")
    out, err = launcher.communicate()
    assert (launcher.returncode, out) == (0, f"{next((tmp_path / 'ray').iterdir())}\n"), err
    assert "died" in err  # which is Ray's word
    assert before < 300
    (name, expected), (other, found) = weights(tmp_path / "plain"), weights(tmp_path / "ray")
    assert name == other == "step-000300"
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert losses(tmp_path / "plain") == losses(tmp_path / "ray")
    assert sorted(os.listdir(tmp_path)) == ["plain", "ray"]


@needs_proc
@pytest.mark.slow
def test_a_mistake_is_one_sentence(by_ray, tmp_path):
    wrong = by_ray("--set", "batch_size=9")
    _, said = wrong.communicate()
    assert wrong.returncode == 2
    assert said.startswith("ganzoo: 2 processes share a batch in equal parts")
    assert said.count("\n") == 1
    assert os.listdir(tmp_path) == []


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_stop_it_writes_a_checkpoint(by_ray, tmp_path, number, code):
    """The launcher and all that it has started are told, as by Ctrl-C in a terminal, or it alone."""
    stopped = by_ray("--steps", "1000000", "--set", "checkpoint_every=100000")
    until(lambda: logged(tmp_path / "ray") or stopped.poll() is not None, 1000)
    (stopped.send_signal if number == signal.SIGTERM else partial(os.killpg, stopped.pid))(number)
    _, said = stopped.communicate()
    assert stopped.returncode == code, said
    step = int(re.fullmatch(r"ganzoo: stopped after step (\d+); go on with: .*\n", said)[1])
    assert weights(tmp_path / "ray")[0] == f"step-{step:06d}"
    assert os.listdir(tmp_path) == ["ray"]


def logged(out):
    """Return whether a step has been logged."""
    return any(path.stat().st_size for path in out.glob("*/metrics.jsonl"))
