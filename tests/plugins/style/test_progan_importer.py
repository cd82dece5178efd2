"""Published weights of ProGAN, as pytorch_GAN_zoo writes them: the same pictures and scores as by its equations."""

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, leaky_relu, linear

import ganzoo
from ganzoo import UserError
from ganzoo.inference.importing import import_weights
from ganzoo.training.train import prepare

LATENT, WIDTHS = 5, [16, 16, 8]  # of 4x4, 8x8 and 16x16: few channels make pixel norm steep
LICENSE = "for tests"


def layer(name: str, *shape: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(*shape), f"{name}.bias": torch.randn(shape[0])}


def generator() -> dict[str, Tensor]:
    found = layer("formatLayer", 16 * WIDTHS[0], LATENT) | layer("groupScale0.0", WIDTHS[0], WIDTHS[0], 3, 3)
    for level, width in enumerate(WIDTHS):
        if level:
            found |= layer(f"scaleLayers.{level - 1}.0", width, WIDTHS[level - 1], 3, 3)
            found |= layer(f"scaleLayers.{level - 1}.1", width, width, 3, 3)
        found |= layer(f"toRGBLayers.{level}", 3, width, 1, 1)
    return found


def discriminator(deviation: bool = True) -> dict[str, Tensor]:
    first = WIDTHS[0]
    found = layer("groupScaleZero.0", first, first + deviation, 3, 3) | layer("groupScaleZero.1", first, 16 * first)
    found |= layer("decisionLayer", 1, first)
    for level, width in enumerate(WIDTHS):
        if level:
            found |= layer(f"scaleLayers.{level - 1}.0", width, width, 3, 3)
            found |= layer(f"scaleLayers.{level - 1}.1", WIDTHS[level - 1], width, 3, 3)
        found |= layer(f"fromRGBLayers.{level}", width, 3, 1, 1)
    return found


class Equations:
    """The networks in float64: all of a layer, its bias too, is scaled by the root of 2 / fan-in."""

    def __init__(self, state: dict[str, Tensor], scaled: bool = True) -> None:
        self.state, self.scaled = {name: each.double() for name, each in state.items()}, scaled

    def layer(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        y = conv2d(x, weight, bias, padding=weight.shape[2] // 2) if x.dim() == 4 else linear(x, weight, bias)
        return y * sqrt(2 / prod(weight.shape[1:])) if self.scaled else y

    def images(self, z: Tensor) -> Tensor:
        def norm(x: Tensor) -> Tensor:
            return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

        x = leaky_relu(self.layer("formatLayer", norm(z.double())), 0.2)
        x = norm(x.reshape(len(x), -1, 4, 4))
        x = norm(leaky_relu(self.layer("groupScale0.0", x), 0.2))
        for level in range(len(WIDTHS) - 1):
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            for number in (0, 1):
                x = norm(leaky_relu(self.layer(f"scaleLayers.{level}.{number}", x), 0.2))
        return self.layer(f"toRGBLayers.{len(WIDTHS) - 1}", x)

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores of one group of 4 samples."""
        x = leaky_relu(self.layer(f"fromRGBLayers.{len(WIDTHS) - 1}", x.double()), 0.2)
        for level in reversed(range(len(WIDTHS) - 1)):
            for number in (0, 1):
                x = leaky_relu(self.layer(f"scaleLayers.{level}.{number}", x), 0.2)
            x = avg_pool2d(x, 2)
        if self.state["groupScaleZero.0.weight"].shape[1] > x.shape[1]:
            deviation = (x.var(0, correction=1) + 1e-8).sqrt().mean()
            x = torch.cat([x, deviation.expand(len(x), 1, 4, 4)], 1)
        x = leaky_relu(self.layer("groupScaleZero.0", x), 0.2).flatten(1)
        x = leaky_relu(self.layer("groupScaleZero.1", x), 0.2)
        return self.layer("decisionLayer", x).squeeze(1)


@contextmanager
def their_config() -> Iterator[type]:
    """Put the class of their settings where their code has it."""
    modules = ("models", "models.utils", "models.utils.config")
    for name in modules:
        sys.modules[name] = types.ModuleType(name)
    config = type("BaseConfig", (), {"__module__": modules[-1]})
    sys.modules[modules[-1]].BaseConfig = config  # type: ignore[attr-defined]
    yield config
    for name in modules:
        del sys.modules[name]


def imported(tmp_path: Path, content: dict[str, Any], license: str = LICENSE, **options: Any) -> ganzoo.Run:
    torch.save(content, tmp_path / "file.pth", **options)
    return import_weights(tmp_path / "file.pth", "pgan", tmp_path / "run", license=license)


def same(run: ganzoo.Run, g: dict[str, Tensor], d: dict[str, Tensor] | None, scaled: bool = True) -> None:
    torch.manual_seed(1)
    z, x = torch.randn(6, LATENT), torch.rand(4, 3, 16, 16) * 2 - 1
    network, _ = run.load(ganzoo.load_registry())
    expected = Equations(g, scaled).images(z)
    assert (network(z) - expected.clamp(-1, 1)).abs().max() < 1e-5
    network.limits = (-1e9, 1e9)  # type: ignore[assignment]
    assert (network(z) - expected).abs().max() < 1e-5 * expected.abs().max()
    if d is not None:
        scores = Equations(d, scaled).scores(x)
        judge, _ = run.load(ganzoo.load_registry(), "discriminator")
        assert (judge(x) - scores).abs().max() < 1e-5 * scores.abs().max()


@pytest.mark.parametrize("old", [False, True])
def test_pictures_and_scores_are_those_of_the_file(old: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ema, g, d = generator(), generator(), discriminator()
    settings = {"alpha": 0, "equalizedlR": True, "leakyReluLeak": 0.2, "lossCriterion": "WGANGP", "depthScale0": 16}

    def named(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name if old else name.replace("weight", "module.weight"): each for name, each in state.items()}

    with their_config() as config:
        kept = config()
        vars(kept).update(settings)
        content = {"config": kept if old else settings, "netG": named(g), "netD": named(d), "avgG": named(ema)}
        with pytest.raises(UserError, match="give their license with --license"):
            imported(tmp_path, content, license="", _use_new_zipfile_serialization=not old)
        run = imported(tmp_path, content, _use_new_zipfile_serialization=not old)
    same(run, ema, d)
    assert run.document()["source"]["license"] == LICENSE
    card = (run.path / "README.md").read_text()
    assert "Scores are those of the file in batches of 4" in card
    assert "random weights" not in card
    # Fine-tuning takes up all of it: the networks do not grow once more.
    tuned = prepare(from_=run.path, config=run.path / "config.toml", data=torch.rand(16, 3, 16, 16), quiet=True)
    assert not tuned.config.model.settings.progressive  # type: ignore[attr-defined]


def test_files_with_a_generator_alone_and_other_scales(tmp_path: Path) -> None:
    torch.manual_seed(0)
    g = {name: 0.2 * each for name, each in generator().items()}
    run = imported(tmp_path, {"netG": g, "config": {"equalizedlR": False}})
    same(run, g, None, scaled=False)
    assert "The discriminator is not that of the file" in (run.path / "README.md").read_text()


def test_a_discriminator_without_minibatch_deviation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    g, d = generator(), discriminator(deviation=False)
    same(imported(tmp_path, {"avgG": g, "netD": d}), g, d)


def test_what_is_no_such_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    g, d = generator(), discriminator()
    refused: dict[str, Any] = {
        "it has no avgG and no netG": {"netD": d},
        "no tensors by name": {"avgG": {"formatLayer.weight": "tensor"}},
        "images of 16x16 or more": {"avgG": {k: each for k, each in g.items() if not k.startswith("scaleLayers.1")}},
        "not those of a base and a maximum": {"avgG": g | {"scaleLayers.0.1.bias": torch.zeros(5)}},
        "has no toRGBLayers.2.weight": {"avgG": {k: each for k, each in g.items() if k != "toRGBLayers.2.weight"}},
        "has other.weight, which": {"avgG": g | layer("other", 1, 1)},
        "still being faded in": {"avgG": g, "config": {"alpha": 0.25}},
        "conditioned on categories": {"avgG": g, "config": {"categoryVectorDim": 4}},
        "ends in tanh": {"avgG": g, "config": {"lossCriterion": "DCGAN"}},
        "slope of its leaky ReLU": {"avgG": g, "config": {"leakyReluLeak": 0.1}},
        "does not fit progan: generator.levels.1.*has the shape": {
            "avgG": g | {"scaleLayers.0.0.weight": torch.zeros(16, 7, 3, 3)}
        },
    }
    for said, content in refused.items():
        with pytest.raises(UserError, match=said):
            imported(tmp_path, content)
    (tmp_path / "file.pth").write_bytes(pickle.dumps({"avgG": print}))
    with pytest.raises(UserError, match=r"builtins\.print"):
        import_weights(tmp_path / "file.pth", "pgan", tmp_path / "run", license=LICENSE)
    assert not (tmp_path / "run").exists()
