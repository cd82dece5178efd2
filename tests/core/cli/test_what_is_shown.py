"""What the commands show of models, runs and the installation."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image

from ganzoo import load_registry


def test_no_arguments_show_the_help(cli: Command) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        outcome = cli(*arguments)
        assert (outcome.code, outcome.err) == (0, "")
        assert "Usage: ganzoo" in outcome.out
        assert "..." not in outcome.out.partition("Commands:")[2]  # every line says all it has to say


def test_list(cli: Command) -> None:
    everything = cli("list").out
    for name in ("model", "loss", "regularizer", "dataset", "metric", "format", "pretrained"):
        alone = cli("list", name).out
        assert alone
        assert alone == cli("list", {"loss": "losses"}.get(name, f"{name}s")).out
        assert f"{name}:\n" in everything
        rows = json.loads(cli("list", name, "--json").out)
        assert {row["kind"] for row in rows} == {name}
        assert [row["key"] for row in rows] == [line.split()[0] for line in alone.splitlines()]


def test_info_of_everything(cli: Command) -> None:
    for entry in load_registry().specs():
        outcome = cli("info", f"{entry.spec.kind}:{entry.spec.key}")
        assert (outcome.code, outcome.err) == (0, "")
        assert entry.spec.summary in outcome.out
        assert "PydanticUndefined" not in outcome.out
        assert "{" not in outcome.out  # nothing is shown as JSON
        (document,) = json.loads(cli("info", f"{entry.spec.kind}:{entry.spec.key}", "--json").out)
        assert document["key"] == entry.spec.key


def test_info_says_how_a_setting_is_given(cli: Command) -> None:
    lines = cli("info", "wgan_gp_conv").out.splitlines()
    rate = load_registry().get("model", "wgan_gp_conv").spec.load().Config().optimizer.lr
    assert any(line.split()[:2] == ["model.optimizer.lr", str(rate)] for line in lines)  # the model's own default
    assert any(line.split()[:2] == ["model.network", "compact"] for line in lines)
    assert "    model.optimizer.betas=[0.0, 0.9]" in lines[lines.index("  --preset textbook:") :]
    assert re.search(r"data\.path +required ", cli("info", "folder").out)
    assert "regularizer.weight_clip.limit " in cli("info", "weight_clip").out
    assert "metrics: modes" in cli("info", "gaussians").out
    assert cli("info", "zoo:dcgan-mnist5k").out == cli("info", "pretrained:dcgan-mnist5k").out
    assert "regularizers: gradient_penalty" in cli("info", "loss:wgan_gp").out
    assert any(line.split()[:5] == ["keep_checkpoints", "2", "how", "many", "checkpoints"] for line in lines)


def test_plugins_and_doctor(cli: Command) -> None:
    assert "torch-ganzoo/conv 0.1.0: loaded: wgan_gp_conv" in cli("plugins").out
    assert {row["status"] for row in json.loads(cli("plugins", "--json").out)} == {"loaded"}
    doctor = cli("doctor", "--json")
    facts = json.loads(doctor.out)["facts"]
    assert facts["torch"].startswith("2.")
    assert "CPU" in facts["onnxruntime has"]


def test_samples(cli: Command, trained: dict[str, Path]) -> None:
    run = trained["digits"]
    assert cli("sample", run, "-n", "9", "--out", "sheet.png").out == "sheet.png\n"
    cli("sample", run, "-n", "3", "--out", "folder")
    assert sorted(path.name for path in Path("folder").iterdir()) == ["000000.png", "000001.png", "000002.png"]
    Path("v1.2").mkdir()
    cli("sample", run, "-n", "1", "--out", "v1.2")
    assert [path.name for path in Path("v1.2").iterdir()] == ["000000.png"]
    outcome = cli("sample", run, "-n", "3", "--out", "numbers.npz")
    assert outcome.err.startswith("3 samples by torch")
    with np.load("numbers.npz") as file:
        assert (file["samples"].shape, file["samples"].dtype) == ((3, 1, 8, 8), np.float32)
        first = file["samples"]
    cli("sample", run, "-n", "3", "--out", "numbers.npz", "--seed", "1")
    with np.load("numbers.npz") as file:
        assert not np.array_equal(file["samples"], first)
    with Image.open("sheet.png") as sheet:
        assert sheet.mode == "L"
        assert sheet.width == sheet.height
    cli("sample", trained["gaussians"], "--out", "points.npz")
    with np.load("points.npz") as file:
        assert file["samples"].shape == (10_000, 2)


def test_export_takes_the_newest_run(cli: Command, trained: dict[str, Path]) -> None:
    for index, data in enumerate(("gaussians", "digits", "gaussians"), 9):
        shutil.copytree(trained[data], f"runs/{index:04d}-{data}")
    Path("runs/0012-untrained").mkdir()
    outcome = cli("export", "--onnx")
    assert outcome.out == "runs/0011-gaussians/generator.onnx\n"
    assert "largest difference to torch" in outcome.err
    document = json.loads(cli("export", "runs/0010-digits", "--onnx", "--json", "--out", "new/a.onnx").out)
    assert document["model"]["key"] == "wgan_gp_conv"
    assert document["training"] == {"step": 4, "seed": 0, "loss": "wgan_gp"}
    assert Path("new/a.onnx").is_file()


@pytest.mark.parametrize(("columns", "widest"), [("44", 44), ("80", 80), ("300", 120), ("wide", 80)])
def test_the_list_of_commands_fits_the_terminal(columns: str, widest: int, cli, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = cli("--help").out.splitlines()
    assert widest - 20 < max(map(len, lines)) <= widest or widest == 120
    assert [line for line in lines if line.startswith("  directions ")]
    assert all(line.startswith(("  ", "Usage:", "Options:", "Commands:")) for line in lines if line)
