"""What cannot be trained is refused before there is a run folder; what came along and does not fit is left out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tomli_w
import torch
from conftest import TINY, Command
from torch import Tensor

from ganzoo import (
    Batch,
    Generator,
    Image,
    Latent,
    Phase,
    Registry,
    Run,
    Signature,
    Spec,
    TensorDataset,
    Trainer,
    TrainerConfig,
    UserError,
    fit,
    load_config,
    load_registry,
)
from ganzoo.config.config import Choice
from ganzoo.data.dataset import DataSpec
from ganzoo.files import read_toml
from ganzoo.plugin.registry import Entry
from ganzoo.training.rehearsal import rehearse

SMALL = ("--set", "model.width=2", "--set", "model.discriminator_width=2", "--set", "batch_size=2", "-q")
HALVES = ("--data", "unpaired", "--set", "data.a=A", "--set", "data.b=B")


@pytest.fixture
def registry() -> Registry:
    return load_registry()


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Make folders of images: A and B of different scenes, of which TA and TB show the same ones."""
    rng = np.random.default_rng(0)
    for name in ("A", "B", "TA", "TB"):
        (tmp_path / name).mkdir()
        for index in range(4):
            pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    return tmp_path


# ---- what came along


@pytest.mark.usefixtures("folders")
def test_two_folders_of_your_own_are_trained_on_without_the_metric_that_needs_pairs(cli: Command) -> None:
    outcome = cli("train", "--plugin", "cyclegan", *HALVES, "--steps", "2", *SMALL)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    (run,) = Path("runs").iterdir()
    assert read_toml(run / "config.toml")["metric"] == {"torch-ganzoo/translation": False}
    assert cli("train", "--resume", run, "--steps", "4", "-q").code == 0
    assert not any("translation" in key for row in Run(run).metrics() for key in row)
    assert cli("train", "--config", run / "config.toml", "--dry-run", "-q").code == 0


@pytest.mark.usefixtures("folders")
def test_it_is_said_what_is_left_out(cli: Command) -> None:
    outcome = cli("train", "--plugin", "cyclegan", *HALVES, "--dry-run", *SMALL[:-1])
    assert outcome.code == 0
    assert outcome.err.startswith("translation is left out: unpaired knows no pairs")
    assert '"torch-ganzoo/translation" = false' in outcome.out


@pytest.mark.usefixtures("folders")
def test_with_pairs_the_metric_is_computed(cli: Command) -> None:
    pairs = ("--set", "data.test_a=TA", "--set", "data.test_b=TB")
    assert cli("train", "--plugin", "cyclegan", *HALVES, *pairs, "--steps", "2", *SMALL).code == 0
    (run,) = Path("runs").iterdir()
    assert "translation/l1" in Run(run).metrics()[-1]


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.usefixtures("folders")
def test_a_metric_that_was_named_is_refused_and_how_to_leave_it_out_is_said(cli: Command, dry: list[str]) -> None:
    named = ("--set", "metric.translation.samples=3")
    start = ("train", "--plugin", "cyclegan", *HALVES, *named, *SMALL, "--steps", "2", *dry)
    outcome = cli(*start)
    outcome.refused("the metric translation does not fit: unpaired knows no pairs", "--without translation")
    assert not Path("runs").exists()
    assert cli(*start, "--without", "translation").code == 0


# ---- switching off


def written(tmp_path: Path, document: Mapping[str, Any]) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(tomli_w.dumps(document))
    return path


@pytest.mark.parametrize(
    ("model", "section", "name"),
    [
        ("wgan_gp_conv", "regularizer", "gradient_penalty"),  # its loss brings it
        ("dcgan", "regularizer", "r1"),  # the model suggests it
        ("gan_fc", "metric", "modes"),  # the data set brings it
    ],
)
def test_all_that_comes_along_can_be_left_out_in_three_ways(
    cli: Command, tmp_path: Path, registry: Registry, model: str, section: str, name: str
) -> None:
    data = {"data": {"name": "gaussians" if model == "gan_fc" else "mnist5k"}}
    with_it = load_config(registry, model, flags=data)
    assert name in {"regularizer": with_it.regularizers, "metric": with_it.metrics}[section]
    by_set = load_config(registry, model, sets=[f"{section}.{name}=false"], flags=data)
    document = {"plugin": model, **data, section: {name: False}}
    by_file = load_config(registry, file=written(tmp_path, document))
    assert by_set == by_file
    assert not by_set.regularizers
    assert not by_set.metrics
    assert load_config(registry, file=written(tmp_path, by_set.to_dict())) == by_set
    shown = cli("train", "--plugin", model, "--data", data["data"]["name"], "--without", name, "--dry-run")
    assert f'"torch-ganzoo/{name}" = false' in shown.out
    # A later layer can name it again.
    again = load_config(registry, file=written(tmp_path, document), sets=[f"{section}.{name}={{}}"])
    assert name in {"regularizer": again.regularizers, "metric": again.metrics}[section]


def test_of_several_metrics_one_can_be_left_out(registry: Registry) -> None:
    named = ["metric.fid.samples=10", "metric.kid={}", "metric.kid=false"]
    assert list(load_config(registry, "gan_fc", sets=named).metrics) == ["fid"]


def test_what_cannot_be_left_out_is_refused(cli: Command) -> None:
    start = ("train", "--plugin", "gan_fc")
    cli(*start, "--without", "mods").refused(
        "--without takes a regularizer, a metric or a tracker, not 'mods'", "'modes'"
    )
    cli(*start, "--set", "metric.fid=true").refused("'metric.fid' is a table of settings, not True", "false")
    cli(*start, "--set", "regularizer.r1=0").refused("'regularizer.r1' is a table of settings, not 0", "false")


def test_a_resumed_run_can_leave_out_its_metrics_and_not_its_regularizers(
    cli: Command, trained: dict[str, Path]
) -> None:
    points, digits = trained["gaussians"], trained["digits"]
    assert cli("train", "--resume", points, "--steps", "9", "--without", "modes", "--dry-run").code == 0
    outcome = cli("train", "--resume", digits, "--steps", "9", "--without", "gradient_penalty", "--dry-run")
    outcome.refused("cannot change in a run that is resumed")


# ---- one rehearsal for training, showing and resuming

REFUSED = [
    (["gan_fc", "--set", "model.pack=3"], ["3 samples together", "not 128", "batch_size=126"]),
    (["encoder_regression", "--set", "model.gan_settings.pack=5"], ["5 samples together", "batch_size=60"]),
    (["wgan_gp_conv", "--set", "metric.label_accuracy.samples=9"], ["this model takes none"]),
    (["inpaint", "--set", "metric.label_accuracy.samples=9"], ["samples drawn for a label"]),
    (["gan_fc", "--loss", "wgan", "--set", "regularizer.weight_clip.interval=2"], ["leave it at 1"]),
    (["r3gan", "--set", "model.spectral_norm=true"], ["starts with zeros", "leave model.spectral_norm out"]),
    (["dcgan", "--set", "model.batch_norm=both"], ["batch norm", "--without r1"]),
    (["pix2pix", "--regularizer", "path_length", "--set", "data.size=20"], ["--without path_length"]),
]


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["train", "dry"])
@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=lambda value: value[0])
def test_what_is_refused_is_refused_before_there_is_a_run(
    cli: Command, arguments: list[str], words: list[str], dry: list[str]
) -> None:
    cli("train", "--plugin", *arguments, *dry).refused(*words)
    assert not Path("runs").exists()


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["resume", "dry"])
def test_a_resumed_run_is_rehearsed_too(cli: Command, trained: dict[str, Path], dry: list[str]) -> None:
    run = trained["digits"]
    before = (run / "config.toml").read_bytes()
    outcome = cli("train", "--resume", run, "--steps", "9", "--set", "metric.label_accuracy.samples=9", *dry)
    outcome.refused("this model takes none")
    assert (run / "config.toml").read_bytes() == before


def test_a_batch_that_is_packed_is_shown_with_its_memory(cli: Command) -> None:
    packed = ("--set", "model.pack=3", "--set", "batch_size=9")
    assert "# memory" in cli("train", "--plugin", "gan_fc", "--data", "digits", *packed, "--dry-run").out


# ---- what the rehearsal leaves as it is


def test_a_training_is_bit_for_bit_what_it_is_without_a_rehearsal(
    cli: Command, tmp_path: Path, registry: Registry
) -> None:
    arguments = [*TINY["digits"], "--steps", "3", "-q"]
    assert cli("train", *arguments, "--out", "rehearsed").code == 0
    (rehearsed,) = (tmp_path / "rehearsed").iterdir()
    config = load_config(registry, file=rehearsed / "config.toml")
    dataset = config.build_dataset()
    plain = Run.create(tmp_path / "plain", config, dataset.spec)
    fit(config, plain, registry, dataset, quiet=True)
    for name in ("networks.safetensors", "ema.safetensors"):
        files = [next((run / "checkpoints").glob(f"step-*/{name}")) for run in (rehearsed, plain.path)]
        assert files[0].read_bytes() == files[1].read_bytes()


class Counted(TensorDataset):
    """Random images that count how many of them are asked for at once."""

    def __init__(self) -> None:
        spec = DataSpec("counted", (Image(1, 16, 16, range=(0, 255)),), 50)
        super().__init__(spec, {"x": torch.randint(256, (50, 1, 16, 16), dtype=torch.uint8)})
        self.asked: list[int] = []

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        self.asked.append(len(indices))
        return super().batch(indices, rng)


@pytest.mark.parametrize(("pack", "batch_size", "least"), [(1, 50, 2), (1, 1, 1), (3, 48, 6), (3, 3, 3)])
def test_a_rehearsal_takes_the_smallest_batch_that_shows_all(
    registry: Registry, pack: int, batch_size: int, least: int
) -> None:
    dataset, sets = Counted(), [f"model.pack={pack}", f"batch_size={batch_size}", "accumulate=4"]
    rehearse(load_config(registry, "gan_fc", sets=sets), dataset, quiet=True)
    assert set(dataset.asked) == {least}


def test_a_rehearsal_of_large_networks_is_quick(registry: Registry) -> None:
    config = load_config(registry, "dcgan", sets=["model.width=64", "batch_size=512"])
    started = time.process_time()
    rehearse(config, Counted(), quiet=True)
    assert time.process_time() - started < 5


# ---- faults that only a pass through the networks shows


class BrokenConfig(TrainerConfig):
    """What is wrong."""

    fault: str = ""


class Broken(Trainer):
    """Draws images by a linear layer, and fails as it is told."""

    Config = BrokenConfig
    config: BrokenConfig

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.networks = {"generator": Line()}
        self.optimizers = {"generator": torch.optim.SGD(self.networks["generator"].parameters(), 0.1)}

    def phases(self) -> list[Phase]:
        return [Phase("generator", self.generator_loss, updates=("generator",))]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        drawn = self.networks["generator"](torch.randn(len(batch["x"]), 3))
        match self.config.fault:
            case "shapes":
                return {"loss": (drawn @ batch["x"][:, :, 1:]).mean()}
            case "loss":
                return {"loss": drawn.mean() / 0}
            case "gradient":
                return {"loss": (drawn * 0).sum().sqrt()}
        return {"loss": drawn.mean()}


class Line(Generator):
    """Three numbers to an image."""

    def __init__(self) -> None:
        super().__init__(Signature((Latent((3,)),), Image(1, 16, 16)))
        self.layer = torch.nn.Linear(3, 256)

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z).tanh().view(-1, 1, 16, 16)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("shapes", "Expected size"),
        ("loss", "generator/loss is not finite from the start"),
        ("gradient", "the gradient of generator is not finite from the start"),
    ],
)
def test_a_fault_of_the_first_step_is_a_sentence(registry: Registry, fault: str, words: str) -> None:
    config = load_config(registry, "gan_fc")
    entry = Entry(Spec("model", "broken", "It fails.", f"{__name__}:Broken"), "tests", "1")
    broken = replace(config, model=Choice(entry, BrokenConfig(fault=fault)), loss=None)
    with pytest.raises(UserError, match=r"^broken cannot be trained with these settings on counted: ") as refused:
        rehearse(broken, Counted(), quiet=True)
    assert words in str(refused.value)
    rehearse(replace(broken, model=Choice(entry, BrokenConfig())), Counted(), quiet=True)
