"""Runs of plugins that are no longer installed: they draw and export, and say what is missing where it is needed."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from conftest import Command
from sites import Site, importable

from ganzoo import Run, UserError, fit, load_config, load_registry
from ganzoo.plugin.registry import Registry

PLUGIN = """
KINDS = {"loss": "Own", "regularizer": "Small", "dataset": "Plane", "metric": "Mean"}

@hookimpl
def ganzoo_specs():
    return [Spec(kind, name.lower(), "Summary.", f"third_things:{name}") for kind, name in KINDS.items()]
"""
THINGS = """
import torch
from ganzoo import Dataset, DataSpec, Loss, Metric, Points, Regularizer

class Own(Loss):
    regularizers = {"third/small": {"weight": 2.0}}

    def discriminator(self, real, fake):
        return torch.nn.functional.softplus(fake - real).mean()

    def generator(self, fake, real):
        return torch.nn.functional.softplus(-fake).mean()

class Small(Regularizer):
    def penalty(self, score, real, fake):
        return score(real).square().mean()

class Plane(Dataset):
    metrics = ("third/mean",)
    spec = DataSpec("plane", (Points(2),), 64)

    def __init__(self, config):
        self.points = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))

    def batch(self, indices, rng):
        return {"x": self.points[indices]}

class Mean(Metric):
    def __call__(self, samples, condition):
        return {"mean": float(samples.mean())}
"""
TINY = ("model.hidden=[8]", "batch_size=8", "steps=4", "seed=3", "metric.third/mean.samples=16")
NAMES = ("loss.name=third/own", "data.name=third/plane")


@dataclass
class Third:
    """A run of a third party's plugins, what it gives while they are there, and the folder that they come from."""

    path: Path
    networks: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Third:
    """A run that was trained with a third party's loss, regularizer, data set and metric, of 1.5."""
    folder = tmp_path_factory.mktemp("third")
    with importable(folder):
        Site(folder).add("third", "1.5", plugin=PLUGIN)
        (folder / "third_things.py").write_text(THINGS)
        registry = Registry()
        config = load_config(registry, "gan_fc", sets=(*TINY, *NAMES))
        dataset = config.build_dataset()
        run = Run.create(folder / "runs", config, dataset.spec)
        fit(config, run, registry, dataset, quiet=True)
        networks = run.load_all(registry)
    return Third(run.path, networks, folder)


def changed(third: Third, folder: Path, **tables: object) -> Path:
    """Return a copy of the run whose config.toml says something else."""
    path = folder / third.path.name
    shutil.copytree(third.path, path)
    document = tomllib.loads((path / "config.toml").read_text()) | tables
    (path / "config.toml").write_text(tomli_w.dumps(document))
    return path


def test_a_run_records_where_all_that_it_was_trained_with_comes_from(third: Third) -> None:
    document = Run(third.path).document()
    assert document["environment"]["plugins"]["third"] == "1.5"
    assert set(document["regularizer"]) == {"third/small"}
    assert set(document["metric"]) == {"third/mean"}


@pytest.mark.parametrize("sets", [["regularizer.third/small.weight=1"], ["metric.third/mean.samples=9"]])
def test_a_regularizer_or_metric_alone_is_recorded_too(third: Third, sets: list[str], tmp_path: Path) -> None:
    with importable(third.folder):
        config = load_config(Registry(), "gan_fc", sets=[*sets, "data.name=gaussians"])
    run = Run.create(tmp_path, config, Run(third.path).data_spec())
    assert run.document()["environment"]["plugins"]["third"] == "1.5"


def test_networks_are_the_same_with_and_without_them(third: Third) -> None:
    alone = Run(third.path).load_all(load_registry())
    assert list(third.networks) == list(alone) == ["generator", "discriminator"]
    for name, (network, metadata) in third.networks.items():
        other, told = alone[name]
        assert metadata == told
        assert told["metrics"].keys() == {"mean/mean"}
        assert told["training"]["loss"] == "own"
        weights, others = network.state_dict(), other.state_dict()
        assert all(torch.equal(weight, others[key]) for key, weight in weights.items())


def test_without_them_a_run_is_sampled_and_exported_and_not_resumed_or_judged(third: Third, cli: Command) -> None:
    assert cli("sample", third.path, "-n", 4, "--out", "drawn.npz").code == 0
    assert cli("export", third.path, "--onnx", "--all", "--out", "files").code == 0
    install = "1.5, which is not installed; pip install third==1.5"
    cli("train", "--resume", third.path, "--steps", 8).refused(
        f"it was trained with the data set 'plane' of third {install}"
    )
    cli("train", "--config", third.path / "config.toml").refused(install)
    cli("eval", third.path).refused(
        f"trained with the data set 'plane' of third {install}", "say what to evaluate it on with --data"
    )
    judged = cli("eval", third.path, "--data", "gaussians", "--set", "data.size=100", "-n", 50)
    assert judged.code == 0, judged


@pytest.mark.parametrize(
    ("said", "tables"),
    [
        ("loss 'own'", {"loss": {"name": "third/own"}}),
        ("regularizer 'small'", {"regularizer": {"third/small": {"weight": 2.0}}}),
        ("data set 'plane'", {"data": {"name": "third/plane"}}),
        ("metric 'mean'", {"metric": {"third/mean": {}}}),
    ],
)
def test_whatever_is_missing_is_named(third: Third, said: str, tables: dict[str, object], tmp_path: Path) -> None:
    bundled = {"loss": {"name": "torch-ganzoo/hinge"}, "data": {"name": "torch-ganzoo/gaussians"}}
    bundled |= {"regularizer": {}, "metric": {"torch-ganzoo/modes": {}}}
    run = Run(changed(third, tmp_path, **{**bundled, **tables}))
    with pytest.raises(UserError) as raised:
        run.config(load_registry())
    assert str(raised.value) == (
        f"it was trained with the {said} of third 1.5, which is not installed; pip install third==1.5"
    )
    assert run.load(load_registry())


def test_a_missing_model_keeps_a_run_from_everything(third: Third, tmp_path: Path, cli: Command) -> None:
    path = changed(third, tmp_path, plugin="third/gan")
    sentence = "it was trained with the model 'gan' of third 1.5, which is not installed; pip install third==1.5"
    for command in (["sample", path], ["export", path, "--onnx"], ["train", "--resume", path], ["eval", path]):
        cli(*command).refused(sentence)


def test_a_loss_that_cannot_be_imported_keeps_nobody_from_drawing(third: Third, tmp_path: Path) -> None:
    with importable(tmp_path):
        Site(tmp_path).add("third", "1.5", plugin=PLUGIN.replace("third_things", "third_gone"))
        registry = Registry()
        assert Run(third.path).load(registry)
        with pytest.raises(UserError, match="cannot be loaded from third_gone:"):
            Run(third.path).config(registry)


def test_another_version_that_does_not_have_it_is_named(third: Third, tmp_path: Path) -> None:
    with importable(tmp_path):
        Site(tmp_path).add("third", "2.0", plugin="")
        registry = Registry()
    sentence = r"the data set 'plane' of third 1\.5, which 2\.0 does not have; pip install third==1\.5$"
    with pytest.raises(UserError, match=sentence):
        Run(third.path).config(registry)


@pytest.mark.parametrize("source", ["1 / 0", None])
def test_what_is_installed_and_not_loaded_says_why(
    third: Third, source: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source is None:
        monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", "third")
    with importable(tmp_path):
        Site(tmp_path).add("third", "1.5", plugin=source or PLUGIN)
        registry = Registry()
    reason = "ZeroDivisionError" if source else "is disabled by GANZOO_DISABLE_PLUGINS"
    with pytest.raises(UserError, match=f"^unknown data set 'third/plane'.*{reason}"):
        Run(third.path).config(registry)
    assert Run(third.path).load(registry)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"plugins": "third"},
        {"plugins": {"third": 5}},
        {"plugins": {"third": "1.5; rm -rf x"}},
        {"plugins": {"third": "--index-url=https://elsewhere"}},
        {"plugins": {"third": ""}},
    ],
)
def test_what_is_no_version_goes_into_no_command(third: Third, environment: dict[str, object], tmp_path: Path) -> None:
    run = Run(changed(third, tmp_path, environment=environment))
    with pytest.raises(UserError, match=r"^unknown data set 'third/plane'; ") as raised:
        run.config(load_registry())
    assert "pip" not in str(raised.value)


def test_the_registry_itself_is_as_it_was() -> None:
    registry = load_registry()
    assert registry.for_networks().get("loss", "third/own").spec.load().__name__ == "StandInLoss"
    assert registry.for_networks().get("loss", "hinge") == registry.get("loss", "hinge")
    with pytest.raises(UserError):
        registry.get("loss", "third/own")
    with pytest.raises(UserError, match="unknown model"):
        registry.for_networks().get("model", "third/gan")
