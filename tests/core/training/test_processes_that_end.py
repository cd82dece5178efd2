"""What becomes of a shared training when one of its processes dies, hangs, or is told to stop."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_several_processes import HERE, ends, together

TRAIN = (
    "train",
    "-p",
    "gan_fc",
    "--data",
    "gaussians",
    "--set",
    "model.hidden=[8]",
    "--set",
    "batch_size=8",
    "--set",
    "data.size=500",
)
QUIETLY = ("--device", "cpu", "--set", "checkpoint_every=5", "--set", "log_every=5", "-q")

CLEAN = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}


def torchrun(out, steps, restarts=3):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts))
    command = [sys.executable, *launcher, "-m", "ganzoo", *TRAIN, *QUIETLY, "--steps", str(steps), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN)


def until(condition, limit=300):
    """Wait for something, and return it."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)
    return found


def reached(out):
    """Return the newest checkpoint's step, or 0."""
    return max((int(path.name[5:]) for path in Path(out).glob("*/checkpoints/step-*[0-9]")), default=0)


def workers(launcher):
    """Return the processes that a launcher has started, in the order of their ranks."""
    children = Path(f"/proc/{launcher.pid}/task").glob("*/children")
    found = sorted({int(pid) for path in children for pid in path.read_text().split()})

    def is_worker(pid):
        try:
            return b"ganzoo" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    return [pid for pid in found if is_worker(pid)]


def stop(launcher):
    """End a launcher and whatever it has started."""
    for pid in workers(launcher) if launcher.poll() is None else ():
        os.kill(pid, signal.SIGKILL)
    launcher.kill()
    launcher.communicate()


def weights(out):
    (run,) = Path(out).iterdir()
    last = run / "checkpoints" / (run / "checkpoints" / "last").read_text().strip()
    return last.name, load_file(last / "networks.safetensors") | load_file(last / "ema.safetensors")


def losses(out):
    """Return the lines of metrics.jsonl, but for what is measured by the clock."""
    (lines,) = Path(out).glob("*/metrics.jsonl")
    rows = map(json.loads, lines.read_text().splitlines())
    return [{key: value for key, value in row.items() if key.startswith(("step", "gen", "dis"))} for row in rows]


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")


@needs_proc
@pytest.mark.slow
def test_a_killed_process_is_made_good(tmp_path):
    """torchrun starts all again, in the same run folder, from the last checkpoint; no line is there twice."""
    launcher = torchrun(tmp_path, 60)
    try:
        until(lambda: reached(tmp_path) >= 10 or launcher.poll() is not None)
        victim = until(lambda: workers(launcher))[1]
        os.kill(victim, signal.SIGKILL)
        _, said = launcher.communicate(timeout=300)
    finally:
        stop(launcher)
    assert launcher.returncode == 0, said
    assert weights(tmp_path)[0] == "step-000060"
    (lines,) = tmp_path.glob("*/metrics.jsonl")
    steps = [int(step) for step in re.findall(r'"step": (\d+)', lines.read_text())]
    assert steps == [*range(5, 61, 5)]


@pytest.mark.slow
def test_it_ends_as_if_nothing_had_been(tmp_path):
    """At twenty random moments a process is killed: while both start, in steps, while checkpoints are written."""
    for name, kills in (("plain", 0), ("disturbed", 20)):
        command = [sys.executable, str(HERE / "killing.py"), str(tmp_path / name), "1000", str(kills)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=CLEAN)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("killed after") == kills
    (name, expected), (other, found) = (weights(tmp_path / each) for each in ("plain", "disturbed"))
    assert name == other == "step-001000"
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert losses(tmp_path / "plain") == losses(tmp_path / "disturbed")


@pytest.fixture
def shared():
    """Start two processes that train for long; whatever a test does, none is left."""
    started = []

    def start(out, *more, wait="60"):
        command = ("-m", "ganzoo", *TRAIN, *QUIETLY, "--steps", "1000000", "--out", str(out), *more)
        started.extend(together(*command, wait=wait))
        return started[-2:]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_told_to_stop_all_write_one_checkpoint(shared, tmp_path):
    """Only one process is told, as by a scheduler that is slow with the others."""
    processes = shared(tmp_path)
    until(lambda: reached(tmp_path) >= 5 or any(each.poll() is not None for each in processes))
    processes[1].send_signal(signal.SIGTERM)
    codes, said = ends(processes)
    assert codes == [143, 143], said
    assert re.fullmatch(r"ganzoo: stopped after step (\d+); go on with: .*\n", said[0][1])
    assert said[1][1] == ""
    step = int(re.findall(r"after step (\d+)", said[0][1])[0])
    assert weights(tmp_path)[0] == f"step-{step:06d}"


@pytest.mark.slow
def test_one_that_hangs_is_named(shared, tmp_path):
    processes = shared(tmp_path, wait="20")
    until(lambda: reached(tmp_path) >= 5 or any(each.poll() is not None for each in processes))
    processes[1].send_signal(signal.SIGSTOP)
    code = processes[0].wait(timeout=300)
    processes[1].kill()
    _, said = ends(processes)
    assert code == 1
    assert said[0][1].startswith("ganzoo: process 1 of 2 did not answer for 20 s"), said


@pytest.mark.slow
def test_what_is_no_longer_finite_ends_all(shared, tmp_path):
    codes, said = ends(shared(tmp_path, "--set", "model.optimizer.lr=1e30"))
    assert codes == [1, 1], said
    assert said[0][1].count("\n") == 1
    assert "is no longer finite" in said[0][1]
    assert said[1][1] == ""


@pytest.mark.slow
def test_all_stop_where_nothing_gets_better(tmp_path):
    """The first process alone computes metrics; what it finds ends the others too, after the same step."""
    rule = ("keep_best=modes/kl", "stop_after=1", "sample_every=5", "checkpoint_every=100", "metric.modes.samples=100")
    sets = (part for each in rule for part in ("--set", each))
    command = ("-m", "ganzoo", *TRAIN, *QUIETLY, *sets, "--steps", "1000", "--out", str(tmp_path))
    codes, said = ends(together(*command))
    assert codes == [0, 0], said
    (run,) = tmp_path.iterdir()
    last, best = ((run / "checkpoints" / name).read_text().strip() for name in ("last", "best"))
    assert best != last
    assert int(last[5:]) == int(best[5:]) + 5 < 1000
    assert {path.name for path in (run / "checkpoints").glob("step-*")} >= {last, best}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gan_fc", "pix2pix"])
def test_metrics_are_those_of_one_process(model, tmp_path):
    """Each process computes a part of the samples; after a step the weights are the same but for rounding."""
    command = {
        "gan_fc": (*TRAIN, "--set", "metric.modes.samples=1000"),
        "pix2pix": ("train", "-p", "pix2pix", "--set", "batch_size=2", "--set", "data.size=300"),
    }[model]
    rows = []
    for world in (1, 2):
        out = tmp_path / str(world)
        command = (*command, *QUIETLY, "--steps", "1", "--set", "precision=fp32")  # auto is bfloat16 on some CPUs
        codes, said = ends(together("-m", "ganzoo", *command, "--out", str(out), world=world))
        assert not any(codes), said
        (lines,) = out.glob("*/metrics.jsonl")
        (row,) = map(json.loads, lines.read_text().splitlines())
        rows.append({key: value for key, value in row.items() if "/" in key})
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)
    assert any(key.startswith(("modes/", "translation/")) for key in rows[0])


@pytest.mark.slow
def test_a_mistake_is_said_once(shared, tmp_path):
    for mistake, sentence in {
        "batch_size=9": "2 processes share a batch in equal parts, so that batch_size is a multiple of 2, not 9",
        "capture=true": "capture=true is for",
        "model.hiden=[3]": "hiden",
    }.items():
        codes, said = ends(shared(tmp_path, "--set", mistake))
        assert codes == [2, 2], said
        assert sentence in said[0][1]
        assert said[1][1] == ""
        assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_goes_on_with_another_number_of_processes(tmp_path):
    command = ("-m", "ganzoo", *TRAIN, *QUIETLY, "--out", str(tmp_path))
    codes, said = ends(together(*command, "--steps", "10"))
    assert codes == [0, 0], said
    (run,) = tmp_path.iterdir()
    for world, steps in ((1, 15), (4, 20)):
        resumed = ("-m", "ganzoo", "train", "--resume", str(run), "--steps", str(steps), "-q")
        codes, said = ends(together(*resumed, world=world))
        assert not any(codes), said
        assert weights(tmp_path)[0] == f"step-{steps:06d}"


@pytest.mark.slow
def test_processes_is_short_for_torchrun(tmp_path):
    def short(*more):
        command = [sys.executable, "-m", "ganzoo", *TRAIN, *QUIETLY, "--processes", "2", "--steps", "5", *more]
        return subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=300)

    done = short()
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(next(tmp_path.iterdir()))
    assert "2 processes" not in done.stderr
    wrong = short("--set", "batch_size=9")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1, wrong.stderr


REWINDING = """
import math, os, sys
import torch
import ganzoo
from ganzoo.training.loop import Loop

steps, advance = [], Loop.advance

def broken(loop):
    advance(loop)
    steps.append((loop.step, loop.lr_scale))
    if len(steps) == 6 and os.environ["RANK"] == "1":
        with torch.no_grad():
            next(loop.trainer.networks["generator"].parameters()).mul_(math.nan)

Loop.advance = broken
sets = ("model.hidden=[8]", "data.size=500", "batch_size=8", "checkpoint_every=2", "log_every=2", "rewind=1")
ganzoo.train("gan_fc", data="gaussians", steps=8, sets=[*sets, sys.argv[1]], device="cpu", out=sys.argv[2], quiet=True)
print(steps)
"""


@pytest.mark.parametrize("shard", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_all_go_back_together(shard, tmp_path):
    """The second process alone is no longer finite; both go on from the last checkpoint at half the rate."""
    codes, said = ends(together("-c", REWINDING, f"shard={shard}", str(tmp_path)))
    assert codes == [0, 0], said
    whole, half = [(step, 1.0) for step in range(1, 7)], [(step, 0.5) for step in range(5, 9)]
    assert [out for out, _ in said] == [f"{whole + half}\n"] * 2
    assert [err.count("rewind 1 of 1") for _, err in said] == [1, 0], said
    name, found = weights(tmp_path)
    assert name == "step-000008"
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.parametrize("command", [TRAIN, ("sample", "zoo:cgan-mnist5k", "-n", "10", "--out", "x.npy")])
def test_more_processes_than_there_is_memory_for_are_not_started(cli, monkeypatch, command):
    started = []
    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda *_: lambda *_: started.append(1))
    monkeypatch.setattr("ganzoo.data.placement.free_memory", lambda device: 8 * 2**30)
    cli(*command, "--processes", "17").refused(
        "--processes 17: they would take 9.1 GB at the least, of which 8.6 are free"
    )
    assert not started
    assert cli(*command, "--processes", "16").code == 0
    assert started == [1]
