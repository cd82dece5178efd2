"""The command line as a newcomer finds it: every mistake is one sentence and exit code 2, and nothing is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import onnx
import pytest
import torch
from conftest import TINY, Command, tree
from PIL import Image

DIGITS = ("train", *TINY["digits"], "--steps", "4", "-q")
SETS = "is a table of settings, not"


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
        ("data.name=images", ["unknown data set 'images'; there is: breast_cancer, ", ", folder, "]),
        ("loss.name=hinges", ["unknown loss 'hinges'"]),
        ("regularizer.gradient_penalti.weight=1", ["did you mean 'gradient_penalty'?"]),
        ("metric.mode.samples=1", ["did you mean 'modes'?"]),
        ("preset=texbook", ["no preset 'texbook'; did you mean 'textbook'?"]),
        # Wrong values.
        ("steps=0", ["'steps': it is at least 1, not 0"]),
        ("steps=many", ["'steps'", "it is a whole number, not 'many'"]),
        ("batch_size=1.5", ["'batch_size'", "not 1.5"]),
        ("ema=1", ["'ema': it is below 1, not 1"]),
        ("ema=nan", ["'ema'", "not nan"]),
        ("ema=much", ["'ema': it is a number", "not 'much'"]),
        ("ema.halflife=0", ["'ema.halflife': it is above 0, not 0"]),
        ("ema.rampup=0.05", ["'ema.halflife' is required"]),
        ("ema.half=5", ["unknown setting 'ema.half'; did you mean 'ema.halflife'?"]),
        ("seed=-1", ["'seed'", "not -1"]),
        ("precision=fp16", ["'precision'", "'tf32' or 'bf16', not 'fp16'"]),
        ("model.width=0", ["'model.width'", "not 0"]),
        ("model.optimizer.name=adma", ["unknown optimizer 'adma'; did you mean 'adam'?"]),
        ("model.optimizer.betas=[0.5]", ["'model.optimizer.betas': more values are required, not [0.5]"]),
        ("model.optimizer.betas=[0, 'x']", ["'model.optimizer.betas'", "not 'x'"]),
        ("model.optimizer.betas=[0, 7]", ["'model.optimizer.betas'", "it is below 1, not 7"]),
        ("model.optimizer=adma", ["unknown optimizer 'adma'; did you mean 'adam'?"]),
        ("model.width.x=3", ["'model.width'", "it is a whole number"]),
        ("steps.x=3", ["'steps'", "it is a whole number"]),
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
        ("steps=3\nseed=4", ["'steps'", "it is a whole number"]),
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
        (["train", "--steps", "many"], ["'--steps'", "it is a whole number"]),
        (["train", "extra"], ["extra", "ganzoo train --help"]),
        (["sample"], ["missing argument", "ganzoo sample --help"]),
        (["sample", "x.onnx", "-n"], ["'-n' requires an argument"]),
        (["list", "modles"], ["unknown kind 'modles'; did you mean 'model'?"]),
        (["list", "zzz"], ["unknown kind 'zzz'; there is: ", "regularizer"]),
        (["info", "wgan_gp_conf"], ["unknown name 'wgan_gp_conf'; did you mean 'wgan_gp_conv'?"]),
        (["info", "quite_another"], ["unknown name 'quite_another'; 'ganzoo list' shows all names"]),
        (["sample", "zoo:gan_fc-mnist5k", "--out", ""], ["--out is empty"]),
        (["sample", "zoo:gan_fc-mnist5k", "--out="], ["--out is empty"]),
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], ["there is no run folder or file nowhere", "ganzoo list pretrained"]),
        (["nowhere.onnx"], ["there is no run folder or file nowhere.onnx"]),
        (["zoo:nothing"], ["there is no zoo:nothing; 'ganzoo list pretrained' shows all models"]),
        (["text.txt"], ["is of no format that is installed (.onnx, .pt2)"]),
        (["garbage.onnx"], ["not an ONNX file"]),
        (["empty.onnx"], ["not an ONNX file"]),
        (["foreign.onnx"], ["foreign.onnx has no ganzoo metadata"]),
        (["empty"], ["empty is not a run folder"]),
        (["halfway"], ["halfway has no complete checkpoint yet", "ganzoo train --config halfway/config.toml"]),
        (["RUN", "-n", "0"], ["-n is at least 1, not 0"]),
        (["RUN", "--seed", "-1"], ["--seed is at least 0, not -1"]),
        (["RUN", "--truncation", "-1"], ["the truncation is a finite number of at least 0, not -1"]),
        (["RUN", "--truncation", "3e38"], ["a truncation of 3e+38 makes latents that are too large"]),
        (["RUN", "--truncation", "nan"], ["the truncation is a finite number of at least 0, not nan"]),
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
