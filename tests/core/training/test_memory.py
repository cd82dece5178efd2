"""Too little memory: said in one sentence with what to do, in the rehearsal and in training; the run can go on."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ganzoo import Run, TensorDataset, UserError, load_config, load_registry, train
from ganzoo.config.train_settings import TrainSettings
from ganzoo.data import placement
from ganzoo.data.dataset import DataSpec
from ganzoo.errors import TrainingError
from ganzoo.fields import Points
from ganzoo.runs import checkpoint
from ganzoo.training import memory
from ganzoo.training.loop import Loop

ASKED = {"data": "gaussians", "sets": ("model.hidden=[8]", "data.size=500", "batch_size=12"), "quiet": True}

FULL = """
import resource, sys
import ganzoo.cli
from ganzoo.training.loop import Loop

start = Loop.start_stream

def start_stream(loop):
    start(loop)
    used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)

Loop.start_stream = start_stream
ganzoo.cli.main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_the_cpu_that_really_runs_out(tmp_path: Path) -> None:
    asked = ["-p", "gan_fc", "--data", "gaussians", "--set", "model.hidden=[256,256]", "--set", "batch_size=65536"]
    command = [sys.executable, "-c", FULL, "train", *asked, "--set", "threads=1", "--steps", "2", "-q"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("ganzoo: out of memory in step 1 with batches of 65536; use less with: ganzoo train ")
    assert line.endswith(".toml --set batch_size=32768 --set accumulate=2")
    assert "config runs/0001-gan_fc-gaussians/config" in line  # nothing can be resumed without a checkpoint


def full(monkeypatch, error, after):
    """Let the given error come from a loop's steps after that many of them."""
    advance = Loop.advance

    def fail(loop):
        if loop.step == after:
            raise error
        advance(loop)

    monkeypatch.setattr(Loop, "advance", fail)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_a_training_that_runs_out_goes_on_with_smaller_batches(tmp_path, monkeypatch, error):
    with monkeypatch.context() as patch:
        full(patch, error, after=3)
        with pytest.raises(TrainingError, match=r"in step 4 with batches of 12") as found:
            train("gan_fc", steps=6, out=tmp_path, **ASKED | {"sets": (*ASKED["sets"], "checkpoint_every=2")})
    assert found.value.__context__ is None, "the frames of the first error would hold the memory"
    (run,) = (Run.open(path) for path in tmp_path.iterdir())
    options = str(found.value).partition(f"ganzoo train --resume {run.path} ")[2].split()
    assert options == ["--set", "batch_size=6", "--set", "accumulate=2"]
    train(resume=run.path, sets=options[1::2], quiet=True)
    step, state = checkpoint.load_state(checkpoint.latest(run.checkpoints))
    # Two phases: four batches of 12 in the first two steps, and 16 of 6 in the others.
    assert (step, state["position"], state["batch_size"]) == (6, 8 + 16, 6)


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    full(monkeypatch, RuntimeError("shapes do not fit"), after=1)
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        train("gan_fc", steps=2, out=tmp_path, **ASKED)


@pytest.mark.parametrize(("batch", "advice"), [(2, "--set batch_size=1 --set accumulate=2"), (12, "a smaller model")])
def test_too_little_for_the_rehearsal(tmp_path, monkeypatch, batch, advice):
    def fail(loop, phase):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Loop, "differentiate", fail)
    with pytest.raises(UserError, match=r"out of memory with 2 samples at a time; take ") as found:
        train("gan_fc", out=tmp_path, **ASKED | {"sets": (*ASKED["sets"], f"batch_size={batch}")})
    assert advice in str(found.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("batch", "accumulate", "multiple", "options"),
    [
        (64, 1, 1, "--set batch_size=32 --set accumulate=2"),
        (64, 2, 32, "--set batch_size=32 --set accumulate=4"),
        (9, 1, 1, "--set batch_size=3 --set accumulate=3"),
        (12, 1, 4, "--set batch_size=4 --set accumulate=3"),
        (7, 1, 1, "--set batch_size=1 --set accumulate=7"),
        (1, 1, 1, ""),
        (4, 1, 4, ""),
    ],
)
def test_what_is_advised_keeps_the_samples_of_a_step(batch, accumulate, multiple, options):
    settings = TrainSettings(batch_size=batch, accumulate=accumulate)
    assert memory.smaller(settings, multiple) == options


def test_the_advised_batches_are_of_the_same_samples(tmp_path):
    registry = load_registry()

    def loop(**sets):
        config = load_config(
            registry, "gan_fc", sets=["data.name='gaussians'", "data.size=30", *(f"{k}={v}" for k, v in sets.items())]
        )
        dataset = config.build_dataset()
        return Loop(config.build_trainer(dataset.spec), dataset, config.train)

    large, small = loop(batch_size=8), loop(batch_size=4, accumulate=2)
    large.advance()
    small.restore(large.save(tmp_path))
    parts = [next(small.stream)["x"] for _ in range(10)]
    assert torch.equal(torch.cat(parts), torch.cat([next(large.stream)["x"] for _ in range(5)]))
    # What does not come out even goes on after the last sample that was used.
    odd = loop(batch_size=5)
    odd.restore(large.save(tmp_path))
    assert large.stream.position * 8 == 56
    assert odd.stream.position * 5 == 60


def test_checkpoints_of_before_the_size_was_kept(tmp_path, monkeypatch):
    config = load_config(load_registry(), "gan_fc", sets=["data.name='gaussians'", "data.size=30"])
    dataset = config.build_dataset()
    loop = Loop(config.build_trainer(dataset.spec), dataset, config.train)
    loop.advance()
    path = loop.save(tmp_path)
    load = checkpoint.load_state

    def older(path):
        step, state = load(path)
        del state["batch_size"]
        return step, state

    monkeypatch.setattr(checkpoint, "load_state", older)
    position, loop.stream.position = loop.stream.position, 0
    loop.restore(path)
    assert loop.stream.position == position


def estimate(device, free, monkeypatch, size=3000):
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    config = load_config(load_registry(), "gan_fc", sets=["data.name='gaussians'", f"data.size={size}"])
    dataset = config.build_dataset()
    return memory.estimate(config.build_trainer(dataset.spec), dataset, config.train, torch.device(device))


def test_data_counts_where_it_lies(monkeypatch):
    without = estimate("cpu", 0, monkeypatch, size=1)
    data = 3000 * 2 * 4
    assert estimate("cpu", 0, monkeypatch) == without + data - 8
    assert estimate("cuda", data * placement.SHARE, monkeypatch) == without + data - 8
    assert estimate("cuda", data * placement.SHARE - 1, monkeypatch) == without - 8


def test_a_dry_run_warns_of_too_little(cli, monkeypatch):
    asked = ("train", "-p", "gan_fc", "--data", "gaussians", "--set", "batch_size=4096", "--dry-run")
    assert "warning" not in cli(*asked).out
    monkeypatch.setattr(placement, "free_memory", lambda device: 2**20)
    shown = cli(*asked).out
    assert "; 1 MiB are free" in shown
    assert "# warning: more than is free; take --set batch_size=2048 --set accumulate=2" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_in_the_model_card(tmp_path):
    run = train("gan_fc", steps=2, out=tmp_path, **ASKED | {"sets": (*ASKED["sets"], "log_every=1")})
    (line,) = (line for line in (run.path / "README.md").read_text().splitlines() if "peak_memory" in line)
    assert 50 < float(line.split("|")[2]) < 10_000
    assert ["peak_memory_mib" in row for row in run.metrics()] == [False, True]
    free = placement.free_memory(torch.device("cpu"))
    assert free is not None
    assert free > 2**20


def test_the_peak_of_a_device_is_logged(tmp_path, monkeypatch):
    """Stands in for a CUDA device; what torch counts there is not tested."""
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 5 * 2**20)
    assert memory.peak(torch.device("cuda")) == {"peak_memory_mib": 3, "peak_reserved_mib": 5}
    assert memory.peak(torch.device("mps")) == {}


@pytest.mark.parametrize(("free", "there"), [(400, True), (399, False), (None, False)])
def test_a_share_of_the_free_memory(free, there):
    assert placement.fits(100, free) is there


def test_where_rows_lie(monkeypatch):
    data = TensorDataset(DataSpec("points", (Points(1),), 9), {"x": torch.zeros(9, 1)})
    assert placement.placed(data.rows, torch.device("cpu")) is data.rows
    assert placement.placed(None, torch.device("cuda")) is None
    monkeypatch.setattr(placement, "free_memory", lambda device: 100)
    assert placement.placed(data.rows, torch.device("cuda")) is None  # 36 bytes are more than a share of 100
