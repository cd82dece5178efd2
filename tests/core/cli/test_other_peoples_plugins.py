"""Models of other people that fit something badly, or cannot be loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import invalidate_caches
from pathlib import Path

import pytest
from conftest import Command

from ganzoo import load_registry


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
