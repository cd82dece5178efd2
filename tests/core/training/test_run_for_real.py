"""Trainings as real processes: what they leave behind, and that killing one at any moment changes nothing."""

from __future__ import annotations

import json
import pkgutil
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image
from safetensors.torch import load_file

GANZOO = (sys.executable, "-m", "ganzoo")
STEPS = 60
SETTINGS = {
    "steps": STEPS,
    "log_every": 5,
    "sample_every": 15,
    "checkpoint_every": 10,
    "batch_size": 16,
    "threads": 1,
    "model.width": 2,
    "model.latent_dim": 4,
    "data.path": "images",
    "data.mode": "grey",
    "data.flip": "true",
}
SETS = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
TRAIN = ["train", "--plugin", "wgan_gp_conv", "--data", "folder", *SETS]


def draw_images(folder: Path, count: int = 40) -> None:
    """Write blurred spots as images of 8 x 8, in two classes."""
    rng = np.random.default_rng(0)
    for index in range(count):
        x, y = rng.uniform(2, 6, 2)
        rows, columns = np.mgrid[:8, :8]
        spot = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 3)
        path = folder / ("left" if x < 4 else "right") / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((spot * 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images to train on."""
    folder = tmp_path_factory.mktemp("home")
    draw_images(folder / "images")
    return folder


@pytest.fixture(scope="module")
def whole(home: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A training that nothing interrupts, and how it ended."""
    done = subprocess.run([*GANZOO, *TRAIN], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return home / done.stdout.strip(), done


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*GANZOO, *arguments], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], path: Path, step: int) -> None:
    """Wait until a line of metrics.jsonl is of the step or a later one."""
    deadline = time.monotonic() + 120
    while not path.is_file() or not any(row["step"] >= step for row in rows_of(path)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # half a line, which a kill may leave behind
            continue
    return rows


def last(run: Path) -> Path:
    return run / "checkpoints" / (run / "checkpoints" / "last").read_text().strip()


def same(one: Any, other: Any) -> bool:
    """Whether two nests of tensors and numbers are the same bits."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_same_end(run: Path, whole: Path) -> None:
    """Assert that two runs have ended with the same weights, averages, optimizers, random states and pictures."""
    assert last(run).name == last(whole).name
    for name in ("networks", "ema"):
        one, other = (load_file(last(each) / f"{name}.safetensors") for each in (run, whole))
        assert same(one, other), name
    one, other = (torch.load(last(each) / "state.pt", weights_only=True) for each in (run, whole))
    assert one.keys() == {"optimizers", "trainer", "random", "position", "batch_size"}
    for key in one:
        assert same(one[key], other[key]), key
    for path in whole.glob("samples/*.png"):
        assert (run / "samples" / path.name).read_bytes() == path.read_bytes(), path.name
    steps = [row["step"] for row in rows_of(run / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    assert set(steps) >= {row["step"] for row in rows_of(whole / "metrics.jsonl")}


def finish(home: Path, run: Path, cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume the run in this process."""
    monkeypatch.chdir(home)
    outcome = cli("train", "--resume", run)
    assert outcome.code == 0, outcome
    assert f"resuming {run} at step" in outcome.err


# --- What is left behind


def test_the_run_folder(whole: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = whole
    assert run.name == "0001-wgan_gp_conv-folder"
    names = {path.name for path in run.iterdir()}
    assert names == {
        *("config.toml", "metrics.jsonl", "tb", "samples", "progress.gif", "losses.png", "checkpoints", "README.md"),
        "reals.png",
    }
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        f"{step:06d}.png" for step in (0, 15, 30, 45, 60)
    ]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last", "step-000050", "step-000060"}
    assert list((run / "tb").glob("events.*"))
    with Image.open(run / "progress.gif") as film:
        assert film.n_frames == 5
    rows = rows_of(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(5, STEPS + 1, 5))
    assert {"discriminator/loss", "generator/loss", "discriminator/gradient_penalty", "samples_per_second"} <= rows[
        0
    ].keys()
    assert all(np.isfinite(list(row.values())).all() for row in rows)


def test_the_config_of_a_run(whole: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    config = tomllib.loads((whole[0] / "config.toml").read_text())
    assert (config["plugin"], config["seed"], config["model"]["width"]) == ("torch-ganzoo/wgan_gp_conv", 0, 2)
    assert config["data"]["name"] == "torch-ganzoo/folder"
    assert config["environment"]["torch"] == torch.__version__.partition("+")[0]
    assert set(config["environment"]["plugins"]) == {"torch-ganzoo"}
    assert [field["kind"] for field in config["data_spec"]["fields"]] == ["image", "label"]


def test_the_model_card(whole: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    card = (whole[0] / "README.md").read_text()
    for words in (
        "# wgan_gp_conv-folder",
        "arXiv:1704.00028",
        "images, 8 x 8, grey",
        "folder, 40 samples",
        "Loss: wgan_gp, gradient_penalty",
        "60 of 60 steps, batches of 16, seed 0",
        "| generator/loss |",
        "(samples/000060.png)",
        "ganzoo sample 0001-wgan_gp_conv-folder",
        "ganzoo export 0001-wgan_gp_conv-folder --format onnx",
        "## License and data",
    ):
        assert words in card, card


def test_plain_lines_where_there_is_no_terminal(whole: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    lines = whole[1].stderr.splitlines()
    assert lines[0].startswith("training wgan_gp_conv on folder (40 samples), loss wgan_gp")
    assert any(
        line.startswith(f"step {STEPS}/{STEPS}  ") and line.endswith("0:00 left") and " samples/s  " in line
        for line in lines
    )
    assert "\x1b" not in whole[1].stderr
    assert "\r" not in whole[1].stderr


# --- Use without the data


def test_sample_and_export_need_no_data_and_agree(
    whole: tuple[Path, subprocess.CompletedProcess[str]], cli: Command, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole[0], tmp_path / "elsewhere"))
    assert not Path("images").exists()  # the folder in the config is relative, and we are in another place
    assert cli("sample", run, "--out", "torch.png", "--seed", "3").code == 0
    assert cli("export", run, "--onnx").code == 0
    shutil.move(run / "generator.onnx", "model.onnx")
    shutil.rmtree(run)
    assert cli("sample", "model.onnx", "--out", "onnx.png", "--seed", "3").code == 0
    with Image.open("torch.png") as one, Image.open("onnx.png") as other:
        assert one.size == other.size
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_the_config_fed_back_gives_the_same_run(
    home: Path,
    whole: tuple[Path, subprocess.CompletedProcess[str]],
    cli: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(home)
    outcome = cli("train", "--config", whole[0] / "config.toml", "--out", tmp_path / "again", "-q")
    run = Path(outcome.out.strip())
    assert run.parent == tmp_path / "again"
    assert_same_end(run, whole[0])
    assert (run / "config.toml").read_text() == (whole[0] / "config.toml").read_text()


# --- Killed and resumed


def test_killed_twice_at_random_moments_it_ends_the_same(
    home: Path,
    whole: tuple[Path, subprocess.CompletedProcess[str]],
    cli: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = random.Random()
    out = tmp_path / "killed"
    run = out / whole[0].name
    process = start(home, *TRAIN, "--out", str(out))
    for step in (15, 35):
        wait_for(process, run / "metrics.jsonl", step)
        time.sleep(moments.uniform(0, 0.05))  # within a step, a picture, a checkpoint ...
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        assert cli("sample", run, "-n", "1", "--out", tmp_path / "a.png").code == 0
        if step < 35:
            process = start(home, "train", "--resume", str(run))
    finish(home, run, cli, monkeypatch)
    assert_same_end(run, whole[0])


def test_interrupted_it_says_how_to_go_on(
    home: Path,
    whole: tuple[Path, subprocess.CompletedProcess[str]],
    cli: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "interrupted"
    run = out / whole[0].name
    process = start(home, *TRAIN, "--out", str(out))
    wait_for(process, run / "metrics.jsonl", 15)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    step = int(last(run).name.removeprefix("step-"))
    assert err.splitlines()[-1] == f"ganzoo: stopped after step {step}; go on with: ganzoo train --resume {run}"
    assert "Traceback" not in err
    assert f"{step} of {STEPS} steps" in (run / "README.md").read_text()
    finish(home, run, cli, monkeypatch)
    assert_same_end(run, whole[0])
    assert f"{STEPS} of {STEPS} steps" in (run / "README.md").read_text()


@pytest.mark.parametrize(
    "during", ["ganzoo.runs.run.Run.log", "ganzoo.runs.checkpoint.save", "ganzoo.images.grids.save_grid"]
)
def test_a_signal_at_any_place_of_a_step_leaves_a_checkpoint(
    cli: Command, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    calls: list[int] = []

    def interrupting(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return before(*arguments, **named)

    module, _, name = during.rpartition(".")
    before = getattr(pkgutil.resolve_name(module), name)
    monkeypatch.setattr(during, interrupting)
    every = [part for name in ("log_every=3", "sample_every=3", "checkpoint_every=4") for part in ("--set", name)]
    outcome = cli(
        "train", "-p", "wgan_gp_conv", "--data", "digits", "--steps", "20", *every, "--set", "model.width=2", "-q"
    )
    assert (outcome.code, outcome.out) == (130, "")
    (run,) = Path("runs").iterdir()
    step = int(last(run).name.removeprefix("step-"))
    assert outcome.sentence() == f"ganzoo: stopped after step {step}; go on with: ganzoo train --resume {run}"
    assert cli("train", "--resume", run, "-q").code == 0


def test_a_crash_while_a_checkpoint_is_written(
    home: Path,
    whole: tuple[Path, subprocess.CompletedProcess[str]],
    cli: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Path(shutil.copytree(whole[0], tmp_path / "crashed"))
    checkpoints = run / "checkpoints"
    # Before the rename: half a checkpoint under another name; after it: a checkpoint that `last` does not name yet.
    shutil.copytree(checkpoints / "step-000060", checkpoints / ".step-000060.tmp")
    (checkpoints / ".step-000060.tmp" / "state.pt").write_bytes(b"half")
    (checkpoints / "last").write_text("step-000050\n")
    (checkpoints / "step-000060" / "state.pt").write_bytes(b"half")
    (checkpoints / ".last.abc").write_text("step-0001")
    finish(home, run, cli, monkeypatch)
    assert_same_end(run, whole[0])
    assert not (checkpoints / ".step-000060.tmp").exists()


def test_killed_before_the_first_checkpoint(cli: Command, trained: dict[str, Path]) -> None:
    run = Path(shutil.copytree(trained["digits"], "run"))
    shutil.rmtree(run / "checkpoints")
    outcome = cli("train", "--resume", run)
    command = outcome.refused("run has no complete checkpoint yet; start again with: ").partition(": ganzoo ")[2]
    assert command == "train --config run/config.toml"
    assert cli(*command.split(), "-q").code == 0
