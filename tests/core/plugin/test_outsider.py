"""A third party's distribution, built, installed and used as its users do: in processes of their own."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

OUTSIDER = ROOT / "tests" / "outsider"
BROKEN = ROOT / "tests" / "broken"


def python(*arguments: str, cwd: Path, path: tuple[Path, ...] = (), code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GANZOO_", "PYTHON"))}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == code, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the outsider's wheel installed."""
    folder = tmp_path_factory.mktemp("outsider")
    shutil.copytree(OUTSIDER, folder / "source", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    pip = ("-m", "pip", "--disable-pip-version-check", "-q")
    wheel = ("wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", "wheels", "./source")
    python(*pip, *wheel, cwd=folder)
    (built,) = (folder / "wheels").glob("ganzoo_outsider-0.1.0-*.whl")
    python(*pip, "install", "--no-deps", "--no-index", "--target", "site", str(built), cwd=folder)
    return folder / "site"


class Shell:
    """Runs ganzoo in a folder, with the outsider and what else is on the path installed."""

    def __init__(self, folder: Path, *path: Path) -> None:
        self.folder, self.path = folder, path

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return python("-m", "ganzoo", *arguments, cwd=self.folder, path=self.path, code=code)


@pytest.fixture(scope="module")
def ganzoo(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("work"), site)


@pytest.fixture(scope="module")
def run(ganzoo: Shell) -> Path:
    """A short training of the outsider's model, with its loss, watched by its observer."""
    done = ganzoo(
        "train", "--plugin", "res_mlp", "--preset", "tiny", "--steps", "5", "--set", "log_every=2", "--device", "cpu"
    )
    return ganzoo.folder / done.stdout.strip()


@pytest.fixture(scope="module")
def exported(ganzoo: Shell, run: Path) -> Path:
    ganzoo("export", str(run), "--onnx", "--out", "digits.onnx")
    return ganzoo.folder / "digits.onnx"


def test_what_it_offers_is_listed_beside_the_bundled(ganzoo: Shell) -> None:
    listed = {f"{row['kind']}:{row['name']}" for row in json.loads(ganzoo("list", "--json").stdout)}
    assert {"loss:ganzoo-outsider/pearson", "model:ganzoo-outsider/res_mlp", "model:torch-ganzoo/gan_fc"} <= listed
    mine = [row for row in json.loads(ganzoo("plugins", "--json").stdout) if row["distribution"] == "ganzoo-outsider"]
    assert [(row["name"], row["version"], row["status"]) for row in mine] == [
        ("outsider", "0.1.0", "loaded"),
        ("outsider-csv", "0.1.0", "loaded"),
    ]
    shown = ganzoo("info", "res_mlp").stdout
    assert "residual blocks in each network" in shown
    assert "tiny" in shown


def test_its_model_trains_with_its_loss_and_its_observer(run: Path) -> None:
    config = (run / "config.toml").read_text()
    assert 'plugin = "ganzoo-outsider/res_mlp"' in config
    assert 'name = "ganzoo-outsider/pearson"' in config
    assert 'ganzoo-outsider = "0.1.0"' in config  # the environment
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted({int(row["step"]) for row in rows}) == [2, 4, 5]
    assert {"discriminator/loss", "generator/loss"} <= {row["name"] for row in rows}


def test_its_observer_forgets_what_is_logged_again(ganzoo: Shell, run: Path, tmp_path: Path) -> None:
    again = shutil.copytree(run, tmp_path / run.name)
    with (again / "metrics.csv").open("a") as file:
        file.write("6,generator/loss,99\n")  # logged after the last checkpoint, before a crash
    ganzoo("train", "--resume", str(again), "--steps", "7", "-q")
    with (again / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert sorted(set(steps)) == [2, 4, 5, 6, 7]
    assert "99" not in (again / "metrics.csv").read_text().split()


def test_its_export_runs_without_it(ganzoo: Shell, run: Path, exported: Path) -> None:
    ganzoo("sample", str(run), "-n", "5", "--seed", "3", "--out", "torch.npz")
    alone = Shell(ganzoo.folder)  # the outsider is not installed here
    alone("sample", str(exported), "-n", "5", "--seed", "3", "--out", "onnx.npz")
    mine, theirs = (np.load(ganzoo.folder / name)["samples"] for name in ("torch.npz", "onnx.npz"))
    assert mine.shape == (5, 1, 8, 8)
    np.testing.assert_allclose(mine, theirs, atol=1e-4)
    # The run folder needs the plugin, and says so.
    missing = alone("sample", str(run), code=2).stderr
    assert missing == (
        "ganzoo: this run was trained with the model 'res_mlp' of ganzoo-outsider 0.1.0, which is not installed; "
        "pip install ganzoo-outsider==0.1.0\n"
    )


def test_its_loss_and_its_regularizer_train_a_bundled_model(ganzoo: Shell) -> None:
    sets = ["--set", "model.hidden=[16]", "--set", "batch_size=8", "--regularizer", "l2"]
    done = ganzoo("train", "-p", "gan_fc", "--loss", "pearson", "--data", "digits", "--steps", "5", "-q", *sets)
    config = (ganzoo.folder / done.stdout.strip() / "config.toml").read_text()
    assert 'name = "ganzoo-outsider/pearson"' in config


def test_its_command_is_one_of_ganzoos(ganzoo: Shell, exported: Path) -> None:
    assert "average      Draw the mean of a model's samples  [ganzoo-outsider]\n" in ganzoo("--help").stdout
    assert "A run (folder, number or 'last')" in ganzoo("average", "--help").stdout
    assert ganzoo("average", str(exported), "-n", "8", "--seed", "1").stdout == "average.png\n"
    assert (ganzoo.folder / "average.png").is_file()
    assert "unknown command 'avrage'; did you mean 'average'?" in ganzoo("avrage", code=2).stderr


def test_its_kind_of_field_is_trained_sampled_and_run_without_it(ganzoo: Shell) -> None:
    sets = ["--set", "model.width=8", "--set", "data.points=12", "--steps", "3", "-q"]
    run = ganzoo("train", "-p", "cloud_gan", *sets).stdout.strip()
    assert (ganzoo.folder / run / "samples" / "000003.png").is_file()
    ganzoo("train", "--resume", run, "--steps", "5", "-q")
    ganzoo("export", run, "--onnx", "--out", "cloud.onnx")
    for suffix in ("npz", "csv", "jsonl", "npy", "png"):
        ganzoo("sample", run, "-n", "5", "--seed", "3", "--out", f"cloud.{suffix}")
    with np.load(ganzoo.folder / "cloud.npz") as file:
        clouds = dict(file)
    assert {name: clouds[name].shape for name in "xyz"} == dict.fromkeys("xyz", (5, 12))
    with (ganzoo.folder / "cloud.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert float(rows[4]["z_11"]) == pytest.approx(clouds["z"][4, 11])
    assert json.loads((ganzoo.folder / "cloud.jsonl").read_text().splitlines()[4])["y"] == clouds["y"][4].tolist()
    # Without the plugin, and in the runtime, it is a plain array.
    alone = Shell(ganzoo.folder)
    alone("sample", "cloud.onnx", "-n", "5", "--seed", "3", "--out", "plain.npz")
    alone("sample", "cloud.onnx", "-n", "5", "--seed", "3", "--out", "plain.png")
    with np.load(ganzoo.folder / "plain.npz") as file:
        plain = file["samples"]
    assert plain.shape == (5, 12, 3)
    np.testing.assert_allclose(plain[..., 2], clouds["z"], atol=1e-5)
    code = "import ganzoo_runtime; print(ganzoo_runtime.Generator('cloud.onnx').sample(5, seed=3)[4, 11, 2])"
    found = python("-c", code, cwd=ganzoo.folder).stdout
    assert float(found) == pytest.approx(clouds["z"][4, 11], abs=1e-5)


def test_its_format_is_written_from_the_command_line(ganzoo: Shell, run: Path) -> None:
    from safetensors import safe_open

    assert ganzoo("export", str(run), "--out", "weights.safetensors").stdout == "weights.safetensors\n"
    with safe_open(ganzoo.folder / "weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["ganzoo"])["signature"]["output"]["kind"] == "image"
        assert file.get_tensor("body.0.weight").shape[1] == 32
    refused = ganzoo("export", str(run), "--format", "safetensors", "--precision", "fp16", code=2).stderr
    assert "holds weights in float32" in refused
    assert "holds weights and no layers" in ganzoo("sample", "weights.safetensors", code=2).stderr


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        *[("pearson", 8), ("res_mlp", 8), ("began_mlp", 8), ("average", 4), ("safetensors", 5), ("l2", 8)],
        *[("cloud", 11), ("spheres", 8), ("cloud_gan", 8)],
    ],
)
def test_it_conforms(ganzoo: Shell, name: str, checks: int) -> None:
    results = json.loads(ganzoo("check", name, "--json").stdout)
    assert len(results) >= checks
    assert [result for result in results if result["outcome"] == "failed"] == []


def test_broken_plugins_beside_it_leave_every_command_working(ganzoo: Shell, exported: Path, tmp_path: Path) -> None:
    rival = tmp_path / "rival"
    (rival / "rival-3.0.dist-info").mkdir(parents=True)
    (rival / "rival-3.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 3.0\n")
    (rival / "rival-3.0.dist-info" / "entry_points.txt").write_text("[ganzoo.plugins]\nrival = rival\n")
    (rival / "rival.py").write_text(
        "from ganzoo import Spec, hookimpl\n@hookimpl\ndef ganzoo_specs():\n"
        "    return [Spec('model', 'res_mlp', 'A rival.', 'rival:Nothing')]\n"
    )
    broken = tmp_path / "broken"  # without the distribution whose metadata make pydantic's import fail
    for name in ("broken_plugins", "broken_plugins-1.2.dist-info"):
        shutil.copytree(BROKEN / name, broken / name, ignore=shutil.ignore_patterns("__pycache__"))
    crowded = Shell(tmp_path, *ganzoo.path, broken, rival)

    rows = json.loads(crowded("plugins", "--json").stdout)
    reasons = {row["name"]: row["reason"] for row in rows if row["distribution"] == "broken-plugins"}
    for name, reason in {
        "imports_missing": "ModuleNotFoundError",
        "exits": "SystemExit: 3",
        "bad_signature": "ganzoo_log has no argument 'stepp'",
        "twice": "offers the loss 'same' twice",
        "newer": "it needs version 99 of the hooks",
    }.items():
        assert reason in reasons[name]
    assert {row["status"] for row in rows if row["distribution"] in ("torch-ganzoo", "ganzoo-outsider")} == {"loaded"}

    assert "pearson" in crowded("list", "loss").stdout
    assert "Least squares" in crowded("info", "pearson").stdout
    assert "failed to load" in crowded("doctor", code=1).stdout
    crowded("sample", str(exported), "-n", "2", "--out", "two.png")
    # Two third parties offer this model, so it has to be said whose; neither is taken by chance.
    flags = ["--preset", "tiny", "--steps", "1", "-q"]
    assert "rival/res_mlp" in crowded("train", "-p", "res_mlp", *flags, code=2).stderr
    crowded("train", "-p", "ganzoo-outsider/res_mlp", *flags)
    # Where a name is not found it may be a broken plugin's fault, which is quoted.
    assert "broken-plugins/exits" in crowded("train", "-p", "no_such_model", code=2).stderr
