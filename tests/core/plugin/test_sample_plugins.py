"""The sample distribution, a third party's: built, installed as a wheel, and used from the command line."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Command
from sites import Site, importable
from warm import Warm

import ganzoo
from ganzoo import load_registry
from ganzoo.testing import general, run_checks

SAMPLES = ROOT / "examples" / "plugins"
MODULES = sorted((SAMPLES / "ganzoo_examples").glob("*.py"))
KINDS = {
    **dict.fromkeys(("d2gan", "infogan_fc", "progressive", "progressive_digits"), "model"),
    **dict.fromkeys(("wave_gan", "word_gan", "cloud_gan"), "model"),
    **dict.fromkeys(("marks", "tones", "words", "spheres"), "dataset"),
    "relativistic_average": "loss",
    "l2": "regularizer",
    "lion": "optimizer",
    "restarts": "schedule",
    "noise": "augmentation",
    "pair_distance": "metric",
    "cloud": "field",
    "safetensors": "format",
    "idx": "sink",
    "one_hidden": "importer",
    "journal": "tracker",
    "average": "command",
}
"""All that is offered, and what it is."""

TINY = {
    "d2gan": ["model.width=8"],
    "infogan_fc": ["model.width=8", "data.name=digits"],
    "progressive": ["model.width=2", "model.fade=4", "data.size=100"],
    "wave_gan": ["model.width=4"],
    "word_gan": ["model.width=8"],
    "cloud_gan": ["model.width=8", "data.points=12"],
    "cgan": ["model.width=4"],
    "gan_fc": ["model.hidden=[8]"],
}
"""Settings with which a model trains in no time."""


@pytest.fixture(scope="module", autouse=True)
def _installed(samples_site: Path) -> Iterator[None]:
    with importable(samples_site):
        yield


def train(cli: Command, model: str, *arguments: str, steps: int = 3) -> Path:
    sets = ["batch_size=4", "device=cpu", *TINY.get(model, [])]
    assigned = [part for each in sets for part in ("--set", each)]
    done = cli("train", "-p", model, "--steps", steps, "-q", *assigned, *arguments)
    assert done.code == 0, done.err
    return Path(done.out.strip())


def weights(run: Path, step: int) -> bytes:
    return (run / "checkpoints" / f"step-{step:06}" / "networks.safetensors").read_bytes()


def process(*arguments: str, cwd: Path, path: tuple[Path, ...], code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run ganzoo as its users do, with what is on the path installed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GANZOO_", "PYTHON"))}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, path)), "GANZOO_CACHE": str(cwd / "cache")}
    command = [sys.executable, "-m", "ganzoo", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


# How they are written


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_it_is_short_and_imports_public_names_alone(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    model = re.search(r"^class \w+\((?:Adversarial)?Trainer\[", text, re.MULTILINE)
    assert len(text.splitlines()) <= (80 if model else 60)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            names, room = {alias.name for alias in node.names}, node.module
            assert room != "ganzoo" or names <= set(ganzoo.__all__), names
        elif isinstance(node, ast.Import):
            (room,) = (alias.name for alias in node.names)
            assert room != "ganzoo"
        else:
            continue
        known = {"ganzoo", "ganzoo_examples", "torch", "numpy", "pydantic", "typer", "safetensors"}
        assert room.partition(".")[0] in known | sys.stdlib_module_names
        assert not room.startswith("ganzoo."), "what is public is imported from ganzoo itself"


def test_a_fresh_process_lists_all_of_them_and_imports_no_torch(tmp_path: Path, samples_site: Path) -> None:
    listed = json.loads(process("list", "--json", cwd=tmp_path, path=(samples_site,)).stdout)
    mine = {row["name"]: row["kind"] for row in listed if row["name"].startswith("ganzoo-examples/")}
    assert mine == {f"ganzoo-examples/{key}": kind for key, kind in KINDS.items()}
    assert "model:torch-ganzoo/gan_fc" in {f"{row['kind']}:{row['name']}" for row in listed}
    shown = process("--help", cwd=tmp_path, path=(samples_site,)).stdout
    assert "average      Draw the mean of a model's samples  [ganzoo-examples]\n" in shown
    registry = load_registry()
    general.discovery(registry, registry.get("model", "ganzoo-examples/infogan_fc"))


@pytest.mark.parametrize("key", sorted({*KINDS} - {"progressive_digits"}))
def test_it_conforms(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(general, "discovery", lambda *_: None)  # a process each; one module offers them all
    results = list(run_checks(load_registry(), f"{KINDS[key]}:ganzoo-examples/{key}", TINY.get(key, ())))
    assert len(results) >= 4
    assert [result for result in results if result.outcome == "failed"] == []


# How they are used


def test_its_loss_regularizer_and_hooks_go_with_a_bundled_model(cli: Command, tmp_path: Path) -> None:
    choice = (
        "--set",
        "model.hidden=[8]",
        "--loss",
        "relativistic_average",
        "--regularizer",
        "l2",
        "--data",
        "digits",
        "--set",
        "log_every=2",
    )
    run = train(cli, "gan_fc", *choice, steps=5)
    config = (run / "config.toml").read_text()
    assert 'name = "ganzoo-examples/relativistic_average"' in config
    assert 'ganzoo-examples = "0.1.0"' in config  # the environment
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted({int(row["step"]) for row in rows}) == [2, 4, 5]
    assert {"discriminator/loss", "discriminator/l2", "generator/loss"} <= {row["name"] for row in rows}
    # Its observer forgets what is logged again.
    with (run / "metrics.csv").open("a") as text:
        text.write("6,generator/loss,99\n")  # logged after the last checkpoint, before a crash
    assert cli("train", "--resume", run, "--steps", "7", "-q").code == 0
    with (run / "metrics.csv").open(newline="") as file:
        assert sorted({int(row["step"]) for row in csv.DictReader(file)}) == [2, 4, 5, 6, 7]
    assert "99" not in (run / "metrics.csv").read_text().split()


def test_its_data_set_of_two_labels_trains_a_conditional_model_and_its_metric_evaluates_it(cli: Command) -> None:
    run = train(cli, "cgan", "--data", "marks", "--set", "data.size=200")
    asked = ("--label", "form=disk", "--label", "extent=large")
    assert cli("sample", run, "-n", "5", *asked, "--out", "disks.npz").code == 0
    with np.load("disks.npz") as file:
        assert file["samples"].shape == (5, 1, 16, 16)
        assert (file["form"].tolist(), file["extent"].tolist()) == ([1] * 5, [1] * 5)
    assert cli("eval", run, "--metric", "pair_distance", "-n", "20").code == 0
    (figure,) = json.loads((run / "eval.json").read_text())["real"].values()
    assert figure > 500  # black and white images of 256 pixels


def test_the_code_of_its_infogan_is_edited_in_an_exported_file(cli: Command, warm: Warm, tmp_path: Path) -> None:
    run = train(cli, "infogan_fc")
    assert cli("export", run, "--onnx", "--out", "codes.onnx").code == 0
    edited = {}
    for strength in ("0", "1.5"):
        asked = ("--on", "c", "--direction", f"c.1={strength}", "--keys", "4,9", "--label", "kind=3")
        # Where the plugin is not installed: the file has all that it takes.
        done = warm(tmp_path, "edit", "codes.onnx", *asked, "--out", f"{strength}.npz")
        assert done.code == 0, done.err
        with np.load(f"{strength}.npz") as file:
            edited[strength] = (file["latents"], file["pixels"].astype(int))
    np.testing.assert_allclose(edited["1.5"][0] - edited["0"][0], [[0, 1.5]] * 2, atol=1e-6)
    assert np.abs(edited["1.5"][1] - edited["0"][1]).max() > 0
    # The noise and the kind stay those of the samples.
    assert cli("sample", "codes.onnx", "-n", "10", "--label", "kind=3", "--out", "all.npz").code == 0
    with np.load("all.npz") as file:
        np.testing.assert_allclose(file["c"][[4, 9]], edited["0"][0], atol=1e-6)
        pixels = (file["samples"][[4, 9], 0] + 1) * 127.5
    np.testing.assert_allclose(edited["0"][1][..., 0], pixels, atol=1)


def test_its_progressive_model_resumes_mid_fade_to_the_bit(cli: Command) -> None:
    from safetensors.torch import load

    run = train(
        cli, "progressive", "--set", "checkpoint_every=6", "--set", "keep_checkpoints=3", steps=14
    )  # fades in steps 4..7 and 12..15
    for step, share in ((6, 0.5), (14, 0.5)):  # levels are faded in by steps 4..7 and 12..15
        kept = weights(run, step)
        assert b"generator.levels.pairs.1" in kept
        assert (b"generator.levels.pairs.2" in kept) == (step == 14)
        assert load(kept)["generator.levels.alpha"] == share
    whole = weights(run, 14)
    again = shutil.copytree(run, run.with_name("again"))
    for begin in ("6", "12"):
        assert cli("train", "--resume", again, "--from-step", begin, "--steps", "14", "-q").code == 0
        assert weights(again, 14) == whole, begin


@pytest.mark.parametrize(
    ("model", "shape", "columns"),
    [
        ("wave_gan", (5, 2, 32), ["sample", "step", "left", "right"]),
        ("word_gan", (5, 5), ["tokens_0", "text"]),
        ("cloud_gan", (5, 12, 3), ["x_0", "z_11"]),
    ],
)
def test_other_samples_than_images_are_trained_sampled_and_exported(
    cli: Command, warm: Warm, tmp_path: Path, model: str, shape: tuple[int, ...], columns: list[str]
) -> None:
    run = train(cli, model)
    assert (run / "samples" / "000003.png").is_file()
    assert cli("export", run, "--onnx", "--out", "model.onnx").code == 0
    for suffix in ("npz", "csv", "png"):
        assert cli("sample", run, "-n", "5", "--seed", "3", "--out", f"run.{suffix}").code == 0
    with Path("run.csv").open(newline="") as file:
        assert {*columns} <= {*next(csv.reader(file))}
    # Without the plugin, where its kind of field is a plain array.
    assert warm(tmp_path, "sample", "model.onnx", "-n", "5", "--seed", "3", "--out", "file.npz").code == 0
    with np.load("run.npz") as mine, np.load("file.npz") as theirs:
        if model == "cloud_gan":
            assert theirs["samples"].shape == shape
            np.testing.assert_allclose(np.stack([mine[axis] for axis in "xyz"], -1), theirs["samples"], atol=1e-5)
        else:
            for name in mine.files:
                numbers = np.issubdtype(mine[name].dtype, np.floating)
                compare = np.testing.assert_allclose if numbers else np.testing.assert_array_equal
                compare(mine[name], theirs[name], **({"atol": 1e-4} if numbers else {}))
    # The run needs the plugin, and says so.
    missing = warm(tmp_path, "train", "--resume", run, "--steps", "5")
    assert missing.code == 2
    assert f"the model '{model}' of ganzoo-examples 0.1.0, which is not installed" in missing.err
    assert "pip install ganzoo-examples==0.1.0" in missing.err


def test_its_command_format_and_sink_are_used_from_the_command_line(cli: Command) -> None:
    from safetensors import safe_open

    run = train(cli, "infogan_fc")
    assert cli("average", run, "-n", "8", "--seed", "1").out == "average.png\n"
    assert Path("average.png").is_file()
    assert "A run (folder, number or 'last')" in cli("average", "--help").out
    cli("avrage").refused("unknown command 'avrage'; did you mean 'average'?")
    assert cli("export", run, "--format", "safetensors", "--out", "weights.safetensors").code == 0
    with safe_open("weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["ganzoo"])["signature"]["output"]["kind"] == "image"
        assert file.get_tensor("kinds.weight").shape == (10, 16)
    cli("export", run, "--format", "safetensors", "--precision", "fp16").refused("holds weights in float32")
    cli("sample", "weights.safetensors").refused("holds weights and no layers")
    assert cli("sample", run, "-n", "3", "--seed", "1", "--out", "images.idx").code == 0
    assert cli("sample", run, "-n", "3", "--seed", "1", "--out", "images.npz").code == 0
    written = Path("images.idx").read_bytes()
    assert struct.unpack(">HBB4I", written[:20]) == (0, 13, 4, 3, 1, 8, 8)
    with np.load("images.npz") as arrays:
        np.testing.assert_array_equal(np.frombuffer(written[20:], ">f4").reshape(3, 1, 8, 8), arrays["samples"])
    cli("sample", train(cli, "word_gan"), "--out", "words.idx").refused("an .idx holds one array")


def test_its_optimizer_schedule_augmentation_and_tracker_are_used_and_resumed(
    cli: Command, warm: Warm, tmp_path: Path
) -> None:
    own = ("model.optimizer.name=lion", "model.optimizer.momentum=0.9", "lr_schedule=restarts", "lr_schedule.cycles=2")
    own += (
        'model.augment.policy=["color", {name = "noise", scale = 0.2}]',
        "model.optimizer.lr=0.001",
        "model.hidden=[8]",
    )
    sets = [part for each in (*own, "checkpoint_every=4", "log_every=2") for part in ("--set", each)]
    run = train(cli, "gan_fc", "--data", "digits", "--tracker", "journal", *sets, steps=8)
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["lr_schedule"] == {"name": "ganzoo-examples/restarts", "cycles": 2}
    assert config["model"]["optimizer"]["name"] == "ganzoo-examples/lion"
    assert config["model"]["optimizer"]["momentum"] == 0.9
    noise = {"name": "ganzoo-examples/noise", "scale": 0.2}
    assert config["model"]["augment"]["policy"] == [{"name": "color", "strength": 1.0}, noise]
    # From the checkpoint of step 4 it comes to the same end, to the last bit.
    whole = weights(run, 8)
    assert cli("train", "--resume", run, "--from-step", "4", "--steps", "8", "-q").code == 0
    assert weights(run, 8) == whole
    told = (tmp_path / "runs" / "journal.txt").read_text().splitlines()
    assert [line.partition(" ")[2].partition(":")[0] for line in told] == [
        *("begins", "step 2", "step 4", "step 6", "step 8", "done after step 8"),
        *("goes on after step 4", "step 6", "step 8", "done after step 8"),
    ]
    # Where it is not installed, the run still draws; to train on, it is named.
    assert warm(tmp_path, "sample", run, "-n", "4", "--out", "samples.png").code == 0
    missing = warm(tmp_path, "train", "--resume", run, "--steps", "12")
    assert missing.code == 2
    assert "of ganzoo-examples 0.1.0, which is not installed; pip install ganzoo-examples==0.1.0" in missing.err


def test_broken_plugins_beside_it_leave_every_command_working(tmp_path: Path, samples_site: Path) -> None:
    rival = tmp_path / "rival"
    offered = "@hookimpl\ndef ganzoo_specs():\n    return [Spec('model', 'd2gan', 'A rival.', 'rival:Nothing')]\n"
    Site(rival).add("rival", "3.0", plugin=offered)
    broken = tmp_path / "broken"  # without the distribution whose metadata make pydantic's import fail
    for name in ("broken_plugins", "broken_plugins-1.2.dist-info"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tests" / "broken" / name, broken / name, ignore=ignored)

    def crowded(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return process(*arguments, cwd=tmp_path, path=(samples_site, broken, rival), code=code)

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
    mine = [row for row in rows if row["distribution"] == "ganzoo-examples"]
    assert [(row["name"], row["version"], row["status"]) for row in mine] == [
        ("examples", "0.1.0", "loaded"),
        ("examples-csv", "0.1.0", "loaded"),
    ]
    assert {row["status"] for row in rows if row["distribution"] == "torch-ganzoo"} == {"loaded"}
    assert "failed to load" in crowded("doctor", code=1).stdout
    assert "found without labels" in crowded("info", "infogan_fc").stdout
    # Two third parties offer this model, so it has to be said whose; neither is taken by chance.
    assert "rival/d2gan" in crowded("train", "-p", "d2gan", code=2).stderr
    # Where a name is not found it may be a broken plugin's fault, which is quoted.
    said = crowded("train", "-p", "no_such_model", code=2).stderr
    assert said.count("(plugin broken-plugins/") == 3
    assert "more are not loaded: see 'ganzoo plugins')" in said
