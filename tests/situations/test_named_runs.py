"""Runs called by number and as last, gone on with from other folders, on data that has moved."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, Command
from PIL import Image

from ganzoo.runs.naming import locate


@pytest.fixture
def runs(cli: Command, tmp_path: Path) -> list[Path]:
    """A run on pictures in a relative folder, one on points, and one that has no checkpoint yet."""
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / f"pictures/{index}.png")
    few = ("--steps", "2", "-q", "--set", "batch_size=4")
    own = ("--data", "folder", "--set", "data.path=pictures", "--set", "model.hidden=[4]")
    assert cli("train", "-p", "gan_fc", *own, *few).code == 0
    assert cli("train", *TINY["gaussians"], *few).code == 0
    empty = tmp_path / "runs/0003-gan_fc-gaussians"
    empty.mkdir()
    shutil.copy(tmp_path / "runs/0002-gan_fc-gaussians/config.toml", empty)
    return sorted((tmp_path / "runs").iterdir())


def test_number_and_last(cli: Command, runs: list[Path]) -> None:
    for name in ("1", "0001", "runs/0001-gan_fc-folder"):
        assert cli("sample", name, "--out", "a.png").code == 0
    assert cli("export", "--onnx").out == "runs/0002-gan_fc-gaussians/generator.onnx\n"
    assert cli("export", "1", "--onnx").out == "runs/0001-gan_fc-folder/generator.onnx\n"
    assert "0001-gan_fc-folder  0002-gan_fc-gaussians" in cli("compare", "1", "last").out
    assert cli("train", "--resume", "last", "--steps", "3", "-q").out == "runs/0002-gan_fc-gaussians\n"
    assert cli("eval", "last", "-n", "50", "--metric", "modes").code == 0
    assert (runs[1] / "eval.json").is_file()


def test_names_of_no_run(cli: Command, runs: list[Path], tmp_path: Path) -> None:
    cli("sample", "7", "--out", "a.png").refused("no run number 7 under runs", "0003-gan_fc-gaussians")
    cli("train", "--resume", "lost").refused("there is no run folder lost", "by its number")
    cli("report", "zoo:gan_fc-mnist5k").refused("a model of the zoo and no run", "by its number")
    shutil.copytree(runs[0], runs[0].with_name("0001-copy"))
    cli("sample", "1", "--out", "a.png").refused("0001-copy", "0001-gan_fc-folder", "both have the number 1")
    shutil.rmtree(tmp_path / "runs")
    cli("export", "--onnx").refused("there is no trained run under runs")
    cli("sample", "1", "--out", "a.png").refused("no run number 1 under runs; the newest are: none")


def test_a_path_comes_before_a_number(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("2") == Path("runs/0002-gan_fc-gaussians")
    shutil.copytree(runs[0], tmp_path / "2")
    assert locate("2") == Path("2")


def test_resume_from_another_folder(
    cli: Command, runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tomllib.loads((runs[0] / "config.toml").read_text())["data"]["path"] == str(tmp_path / "pictures")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli("train", "--resume", runs[0], "--steps", "3", "-q").code == 0


def test_data_that_has_moved(cli: Command, runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "pictures").rename(tmp_path / "images")
    cli("train", "--resume", "1", "--steps", "3").refused("pictures does not exist", "--set data.path=PATH")
    assert cli("train", "--resume", "1", "--steps", "3", "-q", "--set", "data.path=images").code == 0
    assert tomllib.loads((runs[0] / "config.toml").read_text())["data"]["path"] == str(tmp_path / "images")
