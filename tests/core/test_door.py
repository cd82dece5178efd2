"""The Python door: a model as an object, strings as paths, refusals as the commands'."""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import Command
from given import BYTES, Mine, train

import ganzoo
from ganzoo import (
    Image,
    Run,
    TrainedModel,
    UserError,
    load_registry,
)
from ganzoo.config.data_choice import choose_data
from ganzoo.data.objects import as_dataset

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_a_model_is_one_object_whatever_it_was(cli: Command) -> None:
    run = train(BYTES, steps=4)
    ganzoo.export(run, "g.onnx")
    named = (run, 1, "1", "last", run.path, str(run.path), "g.onnx", Path("g.onnx"))
    models = [ganzoo.load(name) for name in named]
    for model in models:
        assert isinstance(model, TrainedModel)
        np.testing.assert_allclose(model.sample(5, seed=2), models[0].sample(5, seed=2), atol=1e-5)
    assert ganzoo.load(models[0]) is models[0]
    assert isinstance(models[0].generator, torch.nn.Module)
    assert not models[0].generator.training
    assert models[0].generator(torch.zeros(2, 64)).shape == (2, 1, 6, 6)
    with pytest.raises(UserError, match=r"g\.onnx is an exported file, which holds no torch module"):
        _ = models[-1].generator
    for bad in (None, 1.5, True, b"runs"):
        with pytest.raises(UserError, match="named by its path, by its number, or as 'last'"):
            ganzoo.load(bad)
    with pytest.raises(UserError, match="there is no run number 7"):
        ganzoo.load(7)
    assert models[-1].save_grid("grid.png", 4) == Path("grid.png")
    assert cli("sample", run.path, "-n", 4, "--out", "command.png").code == 0
    assert models[0].save_grid(Path("same.png"), 4).read_bytes() == Path("command.png").read_bytes()
    assert models[0].save("samples.npz", 3) == Path("samples.npz")
    with pytest.raises(UserError, match=r"a grid is a \.png, not grid\.jpg"):
        models[0].save_grid("grid.jpg")


def test_a_loaded_model_is_used_by_every_function() -> None:
    draw()
    gan = ganzoo.load(train())
    assert ganzoo.evaluate(gan, data=Mine(), n=20, quiet=True).document["model"] == "runs/0001-gan_fc-given"
    with pytest.raises(UserError, match="runs/0001-gan_fc-given draws from latent"):
        ganzoo.translate(gan, "in.png", "out.png")
    encoder = ganzoo.load(AAE, "encoder")
    assert ganzoo.encode(encoder, "in.png", reconstruct=True, quiet=True).reconstructions.shape == (1, 1, 28, 28)


def test_requests_that_do_not_fit_are_refused_by_runs_and_files_alike() -> None:
    for asked in ({"label": 3}, {"n": 0}, {"seed": -1}, {"truncation": -1.0}, {"latents": np.zeros((2, 3))}):
        for method in (ganzoo.load("zoo:dcgan-mnist5k").sample, ganzoo.load("zoo:dcgan-mnist5k").stream):
            with pytest.raises(UserError):
                method(**{"n": 2, **asked})
    with pytest.raises(UserError, match="cannot be sampled from noise alone"):
        ganzoo.load("zoo:pix2pix-shapes").sample(2)
    with pytest.raises(UserError):
        ganzoo.load("zoo:dcgan-mnist5k")(np.zeros((2, 3), np.float32))


def test_runs_and_models_show_themselves() -> None:
    run = train(BYTES)
    assert repr(run) == "<Run runs/0001-gan_fc-given; gan_fc; on given; loss non_saturating; 2 of 2 steps>"
    model = ganzoo.load(run)
    assert repr(model).startswith("<TrainedModel runs/0001-gan_fc-given: gan_fc; given; 2 steps; images, 6 x 6, grey,")
    assert (str(run), str(model)) == ("runs/0001-gan_fc-given",) * 2
    assert run._repr_html_().count("data:image/png;base64,iVBOR") == 2, "the newest grid and the curves"
    assert model._repr_html_().count("data:image/png;base64,iVBOR") == 1
    assert "<img" in ganzoo.load(train())._repr_html_(), "a density"
    (run.path / "config.toml").write_text("plugin = 3")
    assert repr(run) == "<Run runs/0001-gan_fc-given>"
    shutil.rmtree(run.path)
    assert "<b>runs/0001-gan_fc-given</b>" in run._repr_html_()
    page = ganzoo.load("zoo:pix2pix-shapes")._repr_html_()
    assert "<img" not in page, "there is nothing to draw from"
    assert "pix2pix" in page


def test_what_a_file_says_is_not_html() -> None:
    class Sampler:
        device = "here"
        signature = ganzoo.load(PIX).signature
        metadata: Mapping[str, Any] = {"model": {"key": "<script>\x1b"}, "signature": signature.to_json()}

        def sample(self, n: int, **asked: Any) -> None:
            raise ValueError("nothing to draw")

    shown = TrainedModel(Sampler(), "x<y")
    assert "&lt;script&gt;\\u001b" in shown._repr_html_()
    assert "x&lt;y" in shown._repr_html_()
    assert "\x1b" not in repr(shown)


def public_callables() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name in ganzoo.__all__:
        value = getattr(ganzoo, name)
        if inspect.isclass(value) and value.__module__.startswith("ganzoo."):
            methods = {key: each for key, each in vars(value).items() if key == "__init__" or not key.startswith("_")}
            found += [(f"{name}.{key}", getattr(each, "__func__", each)) for key, each in methods.items()]
        elif callable(value):
            found.append((name, value))
    found += [(f"files.{name}", getattr(ganzoo.files, name)) for name in ganzoo.files.__all__]
    found.append(("files.Lock", ganzoo.files.Lock.__init__))
    return [(name, each) for name, each in found if inspect.isfunction(each)]


IMPLEMENTED = {"Format.export", "Format.load", "Format.weights", "Metric.draw", "Tracker.start", "Tracker.samples"}
IMPLEMENTED |= {"Comparison.__init__", "Encoding.__init__", "Sweep.__init__"}
"""What plugins implement and the core calls, always with a Path; and results, which the core makes."""


def test_whatever_takes_a_path_takes_a_string() -> None:
    for name, function in public_callables():
        for parameter, annotation in inspect.get_annotations(function).items():
            text = getattr(annotation, "__name__", "") or str(annotation)  # "Path" or Path, "pathlib.Path | None"
            plain = re.sub(r"[\w.]+\.", "", text).removesuffix(" | None")
            takes = plain not in ("Path", "PathLike[str]")
            assert takes or parameter == "return" or name in IMPLEMENTED, f"{name}: {parameter}"


def test_strings_are_paths() -> None:
    run = train(BYTES)
    assert Run(str(run.path)).metrics() == run.metrics()
    assert Run.open("1", "runs").path == run.path
    ganzoo.files.write_atomic("a/b.json", "{}")
    assert ganzoo.files.read_json("a/b.json") == {}
    ganzoo.files.append_line("a/lines", "one")
    with ganzoo.files.atomic_folder("folder") as folder:
        (folder / "x").touch()
    ganzoo.files.remove("folder")
    ganzoo.files.remove_leftovers("a")
    ganzoo.files.refuse_links("a")
    ganzoo.write_animation("a.gif", [np.zeros((4, 4, 1), np.uint8)] * 2)
    ganzoo.save_grid("grid.png", np.zeros((4, 1, 6, 6), np.float32), Image(1, 6, 6))
    assert ganzoo.ImageReader().size("grid.png") == ganzoo.ImageReader().size(Path("grid.png"))
    registry, _ = choose_data(load_registry(), BYTES)
    config = ganzoo.load_config(registry, file=str(run.path / "config.toml"))
    data = as_dataset(BYTES)
    loop = ganzoo.Loop(config.build_trainer(data.spec), data, config.train)
    loop.restore(str(run.path / "checkpoints" / "step-000002"))
    assert loop.save("checkpoints") == Path("checkpoints/step-000002")


def test_losses_and_regularizers_are_made_without_settings() -> None:
    for kind in ("loss", "regularizer"):
        for entry in load_registry().specs(kind):
            cls = entry.spec.load()
            assert cls().config == cls.Config(), entry.name


def draw() -> None:
    PIL.Image.new("L", (28, 28)).save("in.png")


ZOO, PIX, AAE = "zoo:dcgan-mnist5k", "zoo:pix2pix-shapes", "zoo:aae-mnist5k"
REFUSALS: list[tuple[tuple[Any, ...], Callable[[], Any]]] = [
    (("train", "-p", "gan_fd"), lambda: ganzoo.train("gan_fd")),
    (("train",), lambda: ganzoo.train()),
    (("train", "-p", "gan_fc", "--data", "digts"), lambda: ganzoo.train("gan_fc", data="digts")),
    (("train", "-p", "gan_fc", "--data", "./no"), lambda: ganzoo.train("gan_fc", data=Path("no"))),
    (("train", "-p", "gan_fc", "--loss", "hinje"), lambda: ganzoo.train("gan_fc", loss="hinje")),
    (("train", "-p", "gan_fc", "--regularizer", "r3"), lambda: ganzoo.train("gan_fc", regularizers=["r3"])),
    (("train", "-p", "gan_fc", "--without", "r3"), lambda: ganzoo.train("gan_fc", without=["r3"])),
    (("train", "-p", "gan_fc", "--preset", "x"), lambda: ganzoo.train("gan_fc", preset="x")),
    (("train", "-p", "gan_fc", "--config", "no.toml"), lambda: ganzoo.train("gan_fc", config="no.toml")),
    (("train", "-p", "gan_fc", "--set", "stpes=3"), lambda: ganzoo.train("gan_fc", sets=["stpes=3"])),
    (("train", "-p", "gan_fc", "--steps", "0"), lambda: ganzoo.train("gan_fc", steps=0)),
    (("train", "-p", "gan_fc", "--seed", "-1"), lambda: ganzoo.train("gan_fc", seed=-1)),
    (("train", "-p", "gan_fc", "--device", "gpu"), lambda: ganzoo.train("gan_fc", device="gpu")),
    (("train", "-p", "gan_fc", "--from-step", "3"), lambda: ganzoo.train("gan_fc", from_step=3)),
    (("train", "--resume", "no"), lambda: ganzoo.train(resume="no")),
    (("train", "--resume", "7"), lambda: ganzoo.train(resume=7)),
    (("sample", "zoo:no"), lambda: ganzoo.load("zoo:no")),
    (("sample", "no.onnx"), lambda: ganzoo.load(Path("no.onnx"))),
    (("sample", "7"), lambda: ganzoo.load(7)),
    (("sample", "in.png"), lambda: ganzoo.load("in.png")),
    (("sample", ZOO, "-n", "0"), lambda: ganzoo.load(ZOO).save("x.png", 0)),
    (("sample", ZOO, "--seed", "-1"), lambda: ganzoo.load(ZOO).save_grid("x.png", seed=-1)),
    (("sample", ZOO, "--out", "x.xyz"), lambda: ganzoo.load(ZOO).save("x.xyz")),
    (("sample", PIX), lambda: ganzoo.load(PIX).save_grid("samples.png")),
    (("eval", "no"), lambda: ganzoo.evaluate("no")),
    (("eval", ZOO, "-n", "0"), lambda: ganzoo.evaluate(ZOO, n=0)),
    (("eval", ZOO, "--seed", "-1"), lambda: ganzoo.evaluate(ZOO, seed=-1)),
    (("eval", ZOO, "--metric", "fdi"), lambda: ganzoo.evaluate(ZOO, metrics=["fdi"])),
    (("eval", ZOO, "--data", "digts"), lambda: ganzoo.evaluate(ZOO, data="digts")),
    (("eval", ZOO, "--data", "gaussians"), lambda: ganzoo.evaluate(ZOO, data="gaussians")),
    (("eval", ZOO, "--set", "x=1"), lambda: ganzoo.evaluate(ZOO, sets=["x=1"])),
    (("eval", ZOO, "--network", "no"), lambda: ganzoo.evaluate(ZOO, network="no")),
    (("export", "no", "--onnx"), lambda: ganzoo.export("no")),
    (("export", "7", "--onnx"), lambda: ganzoo.export(7)),
    (("export", "--onnx"), lambda: ganzoo.export()),
    (("export", "--onnx", "--out", "x.pt"), lambda: ganzoo.export(out="x.pt", format="onnx")),
    (("translate", ZOO, "in.png", "out.png"), lambda: ganzoo.translate(ZOO, "in.png", "out.png")),
    (("translate", PIX, "no.png", "out.png"), lambda: ganzoo.translate(PIX, Path("no.png"), "out.png")),
    (("translate", PIX, "in.png", "out.xyz"), lambda: ganzoo.translate(PIX, "in.png", "out.xyz")),
    (("translate", PIX, "in.png", "o.png", "-n", "2"), lambda: ganzoo.translate(PIX, "in.png", "o.png", n=2)),
    (("translate", PIX, "in.png", "o.png", "--seed", "-1"), lambda: ganzoo.translate(PIX, "in.png", "o.png", seed=-1)),
    (("translate", PIX, "in.png", "in.png"), lambda: ganzoo.translate(PIX, "in.png", "in.png")),
    (("encode", ZOO, "in.png"), lambda: ganzoo.encode(ZOO, "in.png")),
    (("encode", AAE, "no.png"), lambda: ganzoo.encode(AAE, "no.png")),
    (
        ("encode", AAE, "in.png", "--seed", "-1"),
        lambda: ganzoo.encode(AAE, "in.png", seed=-1),
    ),
    (("compare", "no"), lambda: ganzoo.compare(["no"])),
    (("compare", "7"), lambda: ganzoo.compare([7])),
]


@pytest.mark.parametrize(("command", "call"), REFUSALS, ids=lambda each: " ".join(each) if type(each) is tuple else "")
def test_functions_refuse_as_the_commands_do(command: tuple[str, ...], call: Callable[[], Any], cli: Command) -> None:
    draw()
    said = cli(*command).refused()
    with pytest.raises(UserError) as refused:
        call()
    assert f"ganzoo: {refused.value}" == said
    assert "\n" not in str(refused.value)


def test_python_alone_can_ask_for_less_than_nothing() -> None:
    draw()
    for call in (
        lambda: ganzoo.translate(PIX, "in.png", "out.png", n=0),
        lambda: ganzoo.encode(ZOO, "in.png", optimize=True, steps=0),
        lambda: ganzoo.evaluate(ZOO, n=1.5),
    ):
        with pytest.raises(UserError, match="is at least 1, not"):
            call()


def test_results_are_not_written_over_what_was_given() -> None:
    draw()
    found = ganzoo.encode(AAE, "in.png", reconstruct=True, quiet=True)
    with pytest.raises(UserError, match="would be overwritten"):
        found.save_grid("in.png")
    with pytest.raises(UserError, match=r"written to an \.npz"):
        found.save("in.png")
