"""The command line as a newcomer finds it: every mistake is one sentence and exit code 2, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import invalidate_caches
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import TINY, Command
from PIL import Image

from ganzoo import load_registry

DIGITS = ("train", *TINY["digits"], "--steps", "4", "-q")
GAUSSIANS = ("train", *TINY["gaussians"], "--steps", "4", "-q")
SETS = "is a table of settings, not"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(trained: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a tiny run on the digits."""
    return Path(shutil.copytree(trained["digits"], tmp_path / "runs" / "0001-wgan_gp_conv-digits"))


# --- Settings


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        # Unknown names, with the closest match in full.
        ("stpes=3", ["unknown setting 'stpes'", "did you mean 'steps'?"]),
        ("widht=3", ["unknown setting 'widht'", "did you mean 'model.width'?"]),
        ("width=3", ["unknown setting 'width'", "did you mean 'model.width'?"]),
        ("model.widht=3", ["unknown setting 'model.widht'", "did you mean 'model.width'?"]),
        ("lr=0.1", ["'lr'", "did you mean 'model.optimizer.lr'?"]),
        ("model.lr=0.1", ["'model.lr'", "did you mean 'model.optimizer.lr'?"]),
        ("optimizer.lr=0.1", ["'optimizer.lr'", "did you mean 'model.optimizer.lr'?"]),
        ("model.optimizer.lrr=1", ["'model.optimizer.lrr'", "did you mean 'model.optimizer.lr'?"]),
        ("regularizer.gradient_penalty.wieght=1", ["'regularizer.gradient_penalty.weight'?"]),
        ("metric.modes.sampels=1", ["'metric.modes.sampels'", "'metric.modes.samples'?"]),
        ("loss.nmae=wgan", ["'loss.nmae'", "'loss.name'?"]),
        ("lose.name=wgan", ["'lose.name'", "'loss.name'?"]),
        ("data.zzz=1", ["unknown setting 'data.zzz'; there is: data.name"]),
        # Unknown plugins.
        ("plugin=wgan_gp_conf", ["unknown model 'wgan_gp_conf'; did you mean 'wgan_gp_conv'?"]),
        ("data.name=digit", ["unknown data set 'digit'; did you mean 'digits'?"]),
        ("loss.name=hinges", ["unknown loss 'hinges'"]),
        ("regularizer.gradient_penalti.weight=1", ["did you mean 'gradient_penalty'?"]),
        ("metric.mode.samples=1", ["did you mean 'modes'?"]),
        ("preset=texbook", ["no preset 'texbook'; did you mean 'textbook'?"]),
        # Wrong values.
        ("steps=0", ["'steps'", "greater than or equal to 1, not 0"]),
        ("steps=many", ["'steps'", "valid integer", "not 'many'"]),
        ("batch_size=1.5", ["'batch_size'", "not 1.5"]),
        ("ema=1", ["'ema'", "less than 1, not 1"]),
        ("ema=nan", ["'ema'", "not nan"]),
        ("ema=much", ["'ema': input should be a valid number", "not 'much'"]),
        ("ema.halflife=0", ["'ema.halflife'", "greater than 0, not 0"]),
        ("ema.rampup=0.05", ["'ema.halflife' is required"]),
        ("ema.half=5", ["unknown setting 'ema.half'; did you mean 'ema.halflife'?"]),
        ("seed=-1", ["'seed'", "not -1"]),
        ("precision=fp16", ["'precision'", "'tf32' or 'bf16', not 'fp16'"]),
        ("model.width=0", ["'model.width'", "not 0"]),
        ("model.optimizer.name=adma", ["unknown optimizer 'adma'; did you mean 'adam'?"]),
        ("model.optimizer.betas=[0.5]", ["'model.optimizer.betas': more values are required, not [0.5]"]),
        ("model.optimizer.betas=[0, 'x']", ["'model.optimizer.betas'", "not 'x'"]),
        ("model.optimizer.betas=[0, 7]", ["'model.optimizer.betas'", "less than 1, not 7"]),
        ("model.optimizer=adma", ["unknown optimizer 'adma'; did you mean 'adam'?"]),
        ("model.width.x=3", ["'model.width'", "valid integer"]),
        ("steps.x=3", ["'steps'", "valid integer"]),
        # Values in place of tables, and the other way round.
        ("data=mnist5k", [f"'data' {SETS} 'mnist5k'; write data.name=NAME"]),
        ("loss=wgan", [f"'loss' {SETS} 'wgan'; write loss.name=NAME"]),
        ("model=3", [f"'model' {SETS} 3; write model.SETTING=VALUE"]),
        ("regularizer=gradient_penalty", ["write regularizer.NAME.SETTING=VALUE"]),
        ("regularizer.gradient_penalty=3", ["write regularizer.gradient_penalty.SETTING=VALUE"]),
        ("metric=modes", ["write metric.NAME.SETTING=VALUE"]),
        ("data.name=3", ["'data.name' is a name, not 3"]),
        ("plugin=3", ["'plugin' is a name, not 3"]),
        ("preset=[]", ["'preset' is a name, not []"]),
        # No settings at all.
        ("steps", ["--set takes section.setting=value, not 'steps'"]),
        ("=3", ["--set takes"]),
        ("a..b=3", ["--set takes"]),
        (".=3", ["--set takes"]),
        ("", ["--set takes"]),
        ("steps=3\nseed=4", ["'steps'", "valid integer"]),
        # Devices.
        ("device=gpu", ["unknown device 'gpu'; use auto, cpu, cuda or mps"]),
        ("device=meta", ["unknown device 'meta'"]),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_wrong_settings(cli: Command, setting: str, words: list[str], dry: bool) -> None:
    arguments = DIGITS[:1] + DIGITS[3:] if "plugin" in setting else DIGITS
    if setting.startswith("data.name"):
        arguments = tuple(each for each in arguments if each not in ("--data", "digits"))
    if setting.startswith("steps"):
        arguments = tuple(each for each in arguments if each not in ("--steps", "4"))
    cli(*arguments, *["--dry-run"] * dry, "--set", setting).refused(*words)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "wgan_gp_conf"], ["unknown model 'wgan_gp_conf'; did you mean 'wgan_gp_conv'?"]),
        (["-p", "torch-ganzoo/wgan_gp_con"], ["did you mean 'torch-ganzoo/wgan_gp_conv'?"]),
        (["--data", "mnist6k"], ["unknown data set 'mnist6k', and no folder of that name; did you mean 'mnist5k'?"]),
        (["--loss", "wgna"], ["unknown loss 'wgna'; did you mean 'wgan'?"]),
        (["--regularizer", "gp"], ["unknown regularizer 'gp'"]),
        (["--preset", "texbook"], ["wgan_gp_conv has no preset 'texbook'; did you mean 'textbook'?"]),
        (["--steps", "0"], ["'steps'", "not 0"]),
        (["--seed", "-3"], ["'seed'", "not -3"]),
        (["--data", "gaussians"], ["wgan_gp_conv draws images, not points"]),
        (["--set", "metric.modes.samples=5"], ["the metric modes does not fit: it needs a mixture", "not digits"]),
        (["--data", "folder"], ["the setting 'data.path' is required; give it with --set data.path=..."]),
        (["--data", "folder", "--set", "data.path=nowhere"], ["nowhere does not exist"]),
        (["--data", "folder", "--set", "data.path=file"], ["file is not a folder"]),
        (["--data", "folder", "--set", "data.path=empty"], ["there are no images", "empty"]),
        (["--data", "folder", "--set", "data.path=odd"], ["multiples of 4, at least 8, not 30x30", "data.size="]),
        (["--data", "folder", "--set", "data.path=odd", "--set", "data.size=big"], ["'data.size'", "not 'big'"]),
        (["--config", "nowhere.toml"], ["cannot read nowhere.toml: No such file"]),
        (["--config", "empty"], ["cannot read empty: it is a folder"]),
        (["--config", "bad.toml"], ["bad.toml is not TOML", "line 2"]),
        (["--config", "binary.toml"], ["binary.toml is not UTF-8 text"]),
        (["--config", "typo.toml"], ["unknown setting 'model.widht'; did you mean 'model.width'?"]),
        (["--config", "list.toml"], ["'data' is a table of settings"]),
        (["--out", "file"], ["cannot write to file", "choose another --out"]),
        (["--out", "file/below"], ["cannot write to file/below", "choose another --out"]),
        (["--out", "/proc/ganzoo"], ["cannot write to /proc/ganzoo", "choose another --out"]),
    ],
)
def test_wrong_arguments_of_train(cli: Command, arguments: list[str], words: list[str]) -> None:
    Path("file").write_text("I was here before")
    Path("empty").mkdir()
    Path("odd").mkdir()
    Image.new("RGB", (30, 30)).save("odd/a.png")
    Path("bad.toml").write_text("steps = 3\nseed 4\n")
    Path("binary.toml").write_bytes(b"\xff\xfe\x00")
    Path("typo.toml").write_text("[model]\nwidht = 3\n")
    Path("list.toml").write_text("[[data]]\nname = 'digits'\n")
    before = tree(Path())
    cli(*DIGITS, *arguments).refused(*words)
    assert tree(Path()) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_device_that_is_not_there(cli: Command, dry: list[str]) -> None:
    cli(*DIGITS, *dry, "--device", "cuda").refused("no CUDA device 'cuda'", "use --device cpu, or auto")
    cli(*DIGITS, *dry, "--device", "cuda:7").refused("no CUDA device 'cuda:7'")
    if not torch.backends.mps.is_available():
        cli(*DIGITS, *dry, "--device", "mps").refused("no MPS device", "use --device cpu, or auto")


def test_train_without_a_model(cli: Command) -> None:
    cli("train", "--data", "digits").refused("name a model with --plugin")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["unknown command 'trian'; did you mean 'train'?"]),
        (["train", "--stpes", "3"], ["no such option: --stpes", "--steps", "ganzoo train --help"]),
        (["train", "--steps", "many"], ["'--steps'", "valid integer"]),
        (["train", "extra"], ["extra", "ganzoo train --help"]),
        (["sample"], ["missing argument", "ganzoo sample --help"]),
        (["sample", "x.onnx", "-n"], ["'-n' requires an argument"]),
        (["list", "modles"], ["unknown kind 'modles'; did you mean 'model'?"]),
        (["list", "zzz"], ["unknown kind 'zzz'; there is: ", "regularizer"]),
        (["info", "wgan_gp_conf"], ["unknown name 'wgan_gp_conf'; did you mean 'wgan_gp_conv'?"]),
        (["info", "modle:wgan_gp_conv"], ["unknown kind 'modle'; did you mean 'model'?"]),
        (["info", "loss:wgan_gp_conv"], ["unknown loss 'wgan_gp_conv'; did you mean 'wgan_gp'?"]),
        (["export"], ["name the format: ganzoo export --onnx"]),
        (["export", "--onnx"], ["there is no trained run under runs", "train first"]),
        (["export", "nowhere", "--onnx"], ["there is no run folder nowhere"]),
        (["export", ".", "--onnx"], ["is not a run folder: it has no config.toml"]),
        (["export", "--onnx", "--out", "model.pt"], ["ends in .onnx, not model.pt"]),
        (["train", "--resume", "nowhere"], ["there is no run folder nowhere"]),
    ],
)
def test_wrong_commands(cli: Command, arguments: list[str], words: list[str]) -> None:
    cli(*arguments).refused(*words)
    assert tree(Path()) == {}


def test_no_arguments_show_the_help(cli: Command) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        outcome = cli(*arguments)
        assert (outcome.code, outcome.err) == (0, "")
        assert "Usage: ganzoo" in outcome.out
        assert "..." not in outcome.out.partition("Commands:")[2]  # every line says all it has to say


# --- Which setting wins


@pytest.fixture
def dry(cli: Command) -> Callable[..., dict[str, object]]:
    """Resolve a config with ``--dry-run`` and return it flat."""
    import tomllib

    from ganzoo.config.merging import flat

    def resolve(*arguments: str) -> dict[str, object]:
        outcome = cli("train", *arguments, "--dry-run")
        assert (outcome.code, outcome.err) == (0, ""), outcome
        return flat(tomllib.loads(outcome.out))  # facts that are no settings are comments

    return resolve


def test_flags_beat_set_beats_file_beats_preset_beats_defaults(dry: Callable[..., dict[str, object]]) -> None:
    names = ["steps", "seed", "batch_size", "model.network", "model.optimizer.name", "ema"]
    Path("file.toml").write_text("steps = 11\nseed = 11\nbatch_size = 11\n[model]\nnetwork = 'compact'\n")
    layers = [
        ["--preset", "textbook"],
        ["--config", "file.toml"],
        ["--set", "steps=12", "--set", "seed=12", "--set", "steps=13"],
        ["--steps", "14"],
        ["-p", "wgan_gp_conv"],
        ["--data", "digits"],
    ]
    for order in (layers, layers[::-1], layers[3:] + layers[:3]):
        config = dry(*(argument for layer in order for argument in layer))
        assert [config[name] for name in names] == [14, 12, 11, "compact", "adamw", 0.998]


def test_settings_belong_to_the_plugin_that_is_chosen(dry: Callable[..., dict[str, object]]) -> None:
    Path("images").mkdir()
    Image.new("L", (8, 8)).save("images/a.png")
    for arguments in (
        ["--data", "folder", "--set", "data.path=images"],
        ["--set", "data.path=images", "--data", "folder"],
        ["--set", "data.path=images", "--set", "data.name=folder"],
        ["--set", "data.name=folder", "--set", "data.path=images"],
        ["--set", "data.name=gaussians", "--set", "data.path=images", "--data", "folder"],
    ):
        config = dry("-p", "wgan_gp_conv", *arguments)
        assert (config["data.name"], config["data.path"]) == ("torch-ganzoo/folder", str(Path("images").absolute()))


def test_what_a_file_says_of_other_plugins_is_left_out(dry: Callable[..., dict[str, object]]) -> None:
    Path("file.toml").write_text(
        "plugin = 'wgan_gp_conv'\nseed = 5\n[model]\nwidth = 3\n[data]\nname = 'gaussians'\nsigma = 0.5\n"
        "[loss]\nname = 'wgan_gp'\n[regularizer.gradient_penalty]\nweight = 3\n[metric.modes]\nsamples = 7\n"
    )
    config = dry("--config", "file.toml", "-p", "gan_fc", "--data", "digits", "--loss", "wgan")
    assert config["seed"] == 5
    assert [name for name in config if name.startswith(("data", "loss", "regularizer", "metric"))] == [
        "data.name",
        "loss.name",
        "loss.drift",
        *(f"regularizer.torch-ganzoo/weight_clip.{name}" for name in ("weight", "interval", "limit")),
    ]
    config = dry("--config", "file.toml", "-p", "gan_fc")
    assert config["data.sigma"] == 0.5
    assert config["metric.torch-ganzoo/modes.samples"] == 7
    assert config["regularizer.torch-ganzoo/gradient_penalty.weight"] == 3


def test_names_in_full_and_quoted_names_mean_the_same(dry: Callable[..., dict[str, object]]) -> None:
    for name in ("gradient_penalty", "torch-ganzoo/gradient_penalty", '"torch-ganzoo/gradient_penalty"'):
        config = dry("-p", "torch-ganzoo/wgan_gp_conv", "--data", "digits", "--set", f"regularizer.{name}.weight=3")
        assert config["regularizer.torch-ganzoo/gradient_penalty.weight"] == 3


def test_a_dry_run_writes_nothing_and_says_what_it_would_do(cli: Command) -> None:
    outcome = cli("train", *TINY["digits"], "--dry-run")
    assert tree(Path()) == {}
    fields = "x: images, 8 x 8, grey, y: a label of 10 classes"
    assert f"# data: digits, 1,797 samples, {fields}\n# generator: " in outcome.out
    assert "# phase discriminator: every step, updates discriminator" in outcome.out
    assert "MiB" in outcome.out


# --- Models that cannot be opened


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], ["there is no run folder or file nowhere", "ganzoo list pretrained"]),
        (["nowhere.onnx"], ["there is no run folder or file nowhere.onnx"]),
        (["zoo:nothing"], ["there is no zoo:nothing; there is: "]),
        (["text.txt"], ["is of no format that is installed (.onnx, .pt2)"]),
        (["garbage.onnx"], ["not an ONNX file"]),
        (["empty.onnx"], ["not an ONNX file"]),
        (["foreign.onnx"], ["foreign.onnx has no ganzoo metadata"]),
        (["empty"], ["empty is not a run folder"]),
        (["halfway"], ["halfway has no complete checkpoint yet", "ganzoo train --config halfway/config.toml"]),
        (["RUN", "-n", "0"], ["-n is at least 1, not 0"]),
        (["RUN", "--seed", "-1"], ["--seed is at least 0, not -1"]),
        (["RUN", "--truncation", "-1"], ["--truncation is at least 0, not -1"]),
        (["RUN", "--truncation", "nan"], ["--truncation is at least 0, not nan"]),
        (["RUN", "--label", "3"], ["knows no labels; leave --label out"]),
        (["RUN", "--out", "a.jpg"], ["--out is a .png, an .npz or a folder, not a.jpg"]),
        (["RUN", "--out", "text.txt/a.png"], ["cannot write into text.txt: it is not a folder"]),
        (["RUN", "--out", "text.txt/a"], ["cannot write text.txt/a"]),
        (["RUN", "--out", "/proc/ganzoo.png"], ["cannot write /proc/ganzoo.png"]),
        (["POINTS", "--out", "folder"], ["draws points, not images"]),
    ],
)
def test_wrong_arguments_of_sample(
    cli: Command, trained: dict[str, Path], arguments: list[str], words: list[str]
) -> None:
    Path("text.txt").write_text("text")
    Path("garbage.onnx").write_bytes(os.urandom(1000))
    Path("empty.onnx").touch()
    Path("empty").mkdir()
    Path("halfway").mkdir()
    shutil.copy(trained["digits"] / "config.toml", "halfway")
    graph = onnx.helper.make_graph([], "foreign", [], [])
    onnx.save(onnx.helper.make_model(graph), "foreign.onnx")
    before = tree(Path())
    at = {"RUN": str(trained["digits"]), "POINTS": str(trained["gaussians"])}
    cli("sample", *(at.get(argument, argument) for argument in arguments)).refused(*words)
    assert tree(Path()) == before


def test_unknown_labels(cli: Command, conditional: str) -> None:
    assert cli("train", "-p", conditional, "--steps", "1", "-q", "--data", "digits").code == 0
    (run,) = Path("runs").iterdir()
    assert cli("export", run, "--onnx").code == 0
    for model in (run, run / "generator.onnx"):
        cli("sample", model, "--label", "10").refused("unknown --label '10': it is a number from 0 to 9")
        cli("sample", model, "--label", "-1").refused("unknown --label '-1'")
        cli("sample", model, "--label", "three").refused("unknown --label 'three'")
        for label in ("3", "all"):
            assert cli("sample", model, "--label", label, "-n", "4", "--out", "a.npz").code == 0


def hostile(text: bytes) -> Callable[[Path], None]:
    return lambda checkpoints: checkpoints.joinpath("last").write_bytes(text)  # type: ignore[return-value]


def flipped(name: str) -> Callable[[Path], None]:
    def flip(checkpoints: Path) -> None:
        (path,) = checkpoints.glob(f"step-*/{name}")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return flip


def truncated(name: str) -> Callable[[Path], None]:
    def truncate(checkpoints: Path) -> None:
        (path,) = checkpoints.glob(f"step-*/{name}")
        path.write_bytes(path.read_bytes()[:-7])

    return truncate


def missing(name: str) -> Callable[[Path], None]:
    return lambda checkpoints: next(checkpoints.glob(f"step-*/{name}")).unlink()


def signed(name: str, content: bytes) -> Callable[[Path], None]:
    """Replace a file and make the manifest say so: damage that no checksum shows."""

    def forge(checkpoints: Path) -> None:
        import hashlib

        (path,) = checkpoints.glob(f"step-*/{name}")
        path.write_bytes(content)
        manifest = json.loads((path.parent / "checkpoint.json").read_text())
        manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
        (path.parent / "checkpoint.json").write_text(json.dumps(manifest))

    return forge


FILES = ("networks.safetensors", "ema.safetensors", "state.pt", "checkpoint.json")


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(kind(name), id=f"{kind.__name__}-{name}") for name in FILES for kind in (truncated, missing)),
        *(pytest.param(flipped(name), id=f"flipped-{name}") for name in FILES[:3]),
        *(pytest.param(signed(name, b"garbage"), id=f"signed-{name}") for name in FILES[:3]),
        *(
            pytest.param(hostile(text), id=f"last-{index}")
            for index, text in enumerate(
                [b"", b"../../x", b"/etc", b"step-", b"step-..", b"step-000099", b"\xff\0\n", b"step-" + b"9" * 5000]
            )
        ),
        pytest.param(lambda checkpoints: checkpoints.joinpath("last").unlink(), id="last-missing"),
        pytest.param(lambda checkpoints: shutil.rmtree(checkpoints), id="no-checkpoints"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_left_alone(
    cli: Command, run: Path, damage: Callable[[Path], None]
) -> None:
    damage(run / "checkpoints")
    before = tree(run)
    where = str(run / "checkpoints") if (run / "checkpoints" / "last").exists() else str(run)
    cli("train", "--resume", run, "--steps", "8").refused(where)
    if not list(run.glob("checkpoints/step-*/state.pt")) or (run / "checkpoints" / "last").exists():
        sampled = cli("sample", run, "-n", "1")
        assert sampled.code in (0, 2)  # 0 where the damage is in what only training needs
        if sampled.code:
            sampled.refused(where)
    assert tree(run) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps = ", ["config.toml is not TOML"]),
        ("plugin = 'gone'", ["unknown model 'gone'"]),
        ("", ["name a model"]),
        ("plugin = 'wgan_gp_conv'", ["not the description of a data set"]),
        ("plugin = 'wgan_gp_conv'\ndata_spec = 3", ["not the description of a data set"]),
    ],
)
def test_a_damaged_config_is_refused(cli: Command, run: Path, text: str, words: list[str]) -> None:
    (run / "config.toml").write_text(text)
    cli("sample", run).refused(*words)


def test_a_cut_line_of_metrics_does_no_harm(cli: Command, run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('[1]\n{"no": "step"}\n{"step": 5, "discrim')
    assert cli("sample", run, "-n", "1").code == 0
    assert cli("train", "--resume", run, "--steps", "6", "-q").code == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]


# --- Going on


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["trained to its last step, 4; give more with --steps"]),
        (["--steps", "3"], ["trained to its last step, 4"]),
        (["--steps", "8", "-p", "gan_fc"], ["--plugin cannot change a run that is resumed"]),
        (["--steps", "8", "--data", "digits"], ["--data cannot change"]),
        (["--steps", "8", "--loss", "wgan"], ["--loss cannot change"]),
        (["--steps", "8", "--regularizer", "weight_clip"], ["--regularizer cannot change"]),
        (["--steps", "8", "--preset", "textbook"], ["--preset cannot change"]),
        (["--steps", "8", "--config", "x.toml"], ["--config cannot change"]),
        (["--steps", "8", "--seed", "0"], ["--seed cannot change"]),
        (["--steps", "8", "--out", "runs"], ["--out cannot change"]),
        (["--steps", "8", "--set", "seed=1"], ["'seed' cannot change"]),
        (["--steps", "8", "--set", "model.width=3"], ["'model.width' cannot change"]),
        (
            ["--steps", "8", "--set", "model.optimizer.name=sgd"],
            ["'model.optimizer.name' cannot change", "lr_schedule"],
        ),
        (["--steps", "8", "--set", "loss.name=wgan"], ["'loss.name' cannot change"]),
        (["--steps", "8", "--set", "regularizer.weight_clip.limit=3"], ["cannot change"]),
        (["--steps", "8", "--set", "data.name=mnist5k"], ["'data.name' cannot change"]),
        (["--steps", "8", "--set", "plugin=gan_fc"], ["cannot change"]),
        (["--steps", "8", "--set", "stpes=3"], ["did you mean 'steps'?"]),
    ],
)
def test_what_cannot_change_when_a_run_goes_on(cli: Command, run: Path, arguments: list[str], words: list[str]) -> None:
    before = tree(run)
    cli("train", "--resume", run, *arguments).refused(*words)
    assert tree(run) == before


def test_changed_data_are_refused(cli: Command, tmp_path: Path) -> None:
    Path("images").mkdir()
    for name in "ab":
        Image.new("L", (8, 8)).save(f"images/{name}.png")
    folder = ["--data", "folder", "--set", "data.path=images", "--set", "data.mode=grey", "--set", "model.width=1"]
    assert cli("train", "-p", "wgan_gp_conv", *folder, "--steps", "1", "-q").code == 0
    (run,) = Path("runs").iterdir()
    Path("images").rename("moved")
    cli("train", "--resume", run, "--steps", "2").refused("images does not exist")
    elsewhere = ["train", "--resume", run, "--steps", "2", "-q", "--set", "data.path=moved"]
    Image.new("L", (8, 8)).save("moved/c.png")
    cli(*elsewhere).refused("the data of", "2 samples then, 3 now", "start a new run with --config")
    Path("moved/c.png").unlink()
    assert cli(*elsewhere).code == 0


# --- Plugins of other people


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """Install a plugin module from its source, for the length of a test."""
    folder = tmp_path_factory.mktemp("site")

    def install(source: str) -> None:
        folder.joinpath("toy_plugin.py").write_text(source)
        metadata = folder / "toy-1.0.dist-info"
        metadata.mkdir()
        metadata.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        metadata.joinpath("entry_points.txt").write_text("[ganzoo.plugins]\ntoy = toy_plugin\n")
        sys.path.insert(0, str(folder))
        invalidate_caches()
        load_registry.cache_clear()

    yield install
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.modules.pop("toy_plugin", None)
    load_registry.cache_clear()


@pytest.fixture
def conditional(site: Callable[[str], None]) -> str:
    """The name of a tiny conditional model."""
    site("""
import torch
from ganzoo import *
from torch import nn

@hookimpl
def ganzoo_specs():
    return [Spec("model", "toy_conditional", "toy", "toy_plugin:Toy", defaults={"loss": {"name": "wgan"}})]

class G(Generator):
    def __init__(self, sample, label):
        super().__init__(Signature((Latent((4,)), label), sample))
        self.body = nn.Linear(4 + label.classes, 64)
    def forward(self, z, y):
        classes = self.signature.inputs[1].classes
        return self.body(torch.cat([z, nn.functional.one_hot(y, classes).float()], 1)).view(-1, 1, 8, 8)

class D(Discriminator):
    def __init__(self, sample, label):
        super().__init__(Signature((sample, label), Scores()))
        self.body = nn.Linear(64, 1)
    def forward(self, x, y):
        return self.body(x.flatten(1)).squeeze(1)

class Toy(AdversarialTrainer):
    def build_generator(self, sample):
        return G(sample, self.data["y"])
    def build_discriminator(self, sample):
        return D(sample, self.data["y"])
    def condition(self, batch):
        return (batch["y"],)
""")
    return "toy_conditional"


def test_a_regularizer_that_does_not_fit(cli: Command, site: Callable[[str], None]) -> None:
    site("""
from ganzoo import *
from torch import nn

@hookimpl
def ganzoo_specs():
    return [Spec("model", "toy", "toy", "toy_plugin:Toy")]

class Toy(AdversarialTrainer):
    defaults = {"loss": {"name": "non_saturating"}}
    def build_generator(self, sample):
        net = Generator(Signature((Latent((4,)),), sample))
        net.body = nn.Linear(4, 64)
        return net
    def build_discriminator(self, sample):
        net = Discriminator(Signature((sample,), Scores()))
        net.body = nn.BatchNorm2d(1)
        return net
""")
    toy = ("train", "-p", "toy", "--data", "digits")
    cli(*toy, "--regularizer", "gradient_penalty").refused("gradient_penalty needs a discriminator", "batch norm")
    cli(*toy, "--loss", "wgan_gp").refused("gradient_penalty needs a discriminator", "batch norm")
    assert not Path("runs").exists()


def test_a_broken_plugin_is_quoted(cli: Command, site: Callable[[str], None]) -> None:
    site("import not_there")
    failed = "plugin toy/toy 1.0 failed to load: ModuleNotFoundError: No module named 'not_there'"
    cli("train", "-p", "toy_gan").refused("unknown model 'toy_gan'", failed)
    cli("info", "toy_gan").refused("unknown name 'toy_gan'", failed)
    cli("sample", "zoo:toy_gan").refused("there is no zoo:toy_gan", failed)
    assert "toy/toy 1.0: failed: ModuleNotFoundError" in cli("plugins").out
    doctor = cli("doctor")
    assert doctor.code == 1
    assert failed in doctor.out


# --- What the disk and the memory do


def test_a_full_disk(trained: dict[str, Path], tmp_path: Path) -> None:
    """Files larger than a limit fail to be written, as on a full disk; the command says so and keeps what was there."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    (tmp_path / "old.npz").write_bytes(b"old")
    arguments = ["sample", str(trained["digits"] / "generator.onnx"), "-n", "200", "--out", "old.npz"]
    command = [sys.executable, "-m", "ganzoo", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ganzoo: cannot write old.npz: File too large\n"
    assert tree(tmp_path) == {"old.npz": b"old"}


def test_a_checkpoint_that_does_not_fit_on_the_disk_keeps_the_last_one(
    cli: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = {name: data for name, data in tree(run).items() if name.startswith("checkpoints")}
    monkeypatch.setattr("ganzoo.runs.checkpoint.save_file", full)
    cli("train", "--resume", run, "--steps", "8", "-q").sentence(
        "cannot write the checkpoint", "No space left on device"
    )
    monkeypatch.undo()
    after = {name: data for name, data in tree(run).items() if name.startswith("checkpoints")}
    assert {name: after.get(name) for name in before} == before
    monkeypatch.chdir(run.parent)
    assert cli("train", "--resume", run, "--steps", "8", "-q").code == 0


def test_too_little_memory(cli: Command) -> None:
    outcome = cli(*DIGITS, "--set", "model.latent_dim=99999999999999")
    outcome.refused("out of memory", "take a smaller wgan_gp_conv")


def test_a_system_error_is_a_sentence(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error", "some/file")

    monkeypatch.setattr("ganzoo.plugin.registry.load_registry", fail)
    outcome = cli("list")
    assert outcome.code == 1
    assert outcome.sentence() == "ganzoo: some/file: Input/output error"


# --- What is shown


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


# --- What is imported


def modules(*arguments: str, cwd: Path) -> tuple[set[str], str]:
    """Run a command in a process of its own; return the modules that it had imported, and its output."""
    code = (
        "import sys\nfrom ganzoo.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as e:\n"
        "    assert not e.code, e.code\nfinally:\n    print('\\n' + ' '.join(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split()), done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_the_list_of_commands_imports_next_to_nothing(arguments: list[str], tmp_path: Path) -> None:
    imported, out = modules(*arguments, cwd=tmp_path)
    assert "\n  train " in out
    assert "\n  edit " in out
    heavy = {"typer", "pydantic", "importlib.metadata", "email", "shutil", "socket", "torch", "numpy"}
    # Some installations import a part of them whenever Python starts.
    bare = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    assert not imported & (heavy - set(bare.stdout.split()))


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--help"]])
def test_help_imports_next_to_nothing(arguments: list[str], tmp_path: Path) -> None:
    imported, _ = modules(*arguments, cwd=tmp_path)
    assert not imported & {"torch", "numpy", "onnxruntime", "rich", "PIL", "matplotlib"}
    assert "pydantic" not in imported or "train" in arguments  # typer needs it for options that are numbers


@pytest.mark.parametrize("arguments", [["list"], ["list", "model", "--json"], ["plugins"], ["info", "onnx"]])
def test_lists_import_no_torch(arguments: list[str], tmp_path: Path) -> None:
    imported, out = modules(*arguments, cwd=tmp_path)
    assert "onnx" in out or "wgan_gp_conv" in out
    assert not imported & {"torch", "numpy", "onnxruntime", "rich", "PIL", "matplotlib"}


def test_a_training_imports_what_it_uses(tmp_path: Path) -> None:
    imported, _ = modules("train", "--plugin", "gan_fc", "--data", "digits", "--steps", "1", cwd=tmp_path)
    assert {"torch", "matplotlib"} <= imported
    # torch imports the first of these as soon as an optimizer is made, and that all others but the last three
    assert not imported & {"torch._dynamo", "sympy", "torch.distributed.tensor", "torch.onnx", "torch._inductor"}
    assert not imported & {"onnx", "onnxruntime", "torch_fidelity"}


def test_a_file_is_sampled_without_torch(trained: dict[str, Path], tmp_path: Path) -> None:
    for out in ("a.png", "a.npz", "folder"):
        model = str(trained["digits"] / "generator.onnx")
        imported, _ = modules("sample", model, "-n", "4", "--out", out, cwd=tmp_path)
        assert (tmp_path / out).exists()
        assert not imported & {"torch", "onnx", "matplotlib", "rich"}


@pytest.mark.parametrize(("columns", "widest"), [("44", 44), ("80", 80), ("300", 120), ("wide", 80)])
def test_the_list_of_commands_fits_the_terminal(columns: str, widest: int, cli, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = cli("--help").out.splitlines()
    assert widest - 20 < max(map(len, lines)) <= widest or widest == 120
    assert [line for line in lines if line.startswith("  directions ")]
    assert all(line.startswith(("  ", "Usage:", "Options:", "Commands:")) for line in lines if line)


def test_import_ganzoo_is_light() -> None:
    code = "import sys, ganzoo; dir(ganzoo); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "numpy", "pydantic", "onnxruntime", "typer", "rich"}
