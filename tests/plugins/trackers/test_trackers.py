"""The trackers are asked for by name, follow a training and a resumed one, and what fails in one is its own matter."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Command

from ganzoo import UserError
from ganzoo.gan.tracker import Tracker
from ganzoo.plugin.registry import load_registry
from ganzoo.testing import check
from ganzoo.training.followers import Followers
from ganzoo_plugins.trackers.mlflow import MLflow, MLflowConfig
from ganzoo_plugins.trackers.wandb import WandB, WandBConfig

OFTEN = ("--set", "log_every=2", "--set", "sample_every=2", "--set", "checkpoint_every=2", "-q")


def trained(cli: Command, *arguments: str) -> Path:
    done = cli("train", *TINY["gaussians"], "--steps", "4", *OFTEN, *arguments)
    assert done.code == 0, done
    return Path(done.out.strip())


def tables(run: Path) -> dict[str, Any]:
    return tomllib.loads((run / "config.toml").read_text())["tracker"]


def test_tensorboard_follows_every_training_unless_it_is_left_out(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = trained(cli)
    assert tables(run) == {"torch-ganzoo/tensorboard": {}}
    assert len(list((run / "tb").iterdir())) == 1
    without = trained(cli, "--without", "tensorboard")
    assert tables(without) == {"torch-ganzoo/tensorboard": False}
    assert not (without / "tb").exists()
    # A run of before trackers were in the config goes on with what it had.
    config = run / "config.toml"
    config.write_text(config.read_text().replace('[tracker."torch-ganzoo/tensorboard"]\n', ""))
    assert cli("train", "--resume", str(run), "--steps", "6", "-q").code == 0
    assert len(list((run / "tb").iterdir())) == 2
    refused = cli("train", *TINY["gaussians"], "--tracker", "tensorbord", "--dry-run")
    refused.refused("unknown tracker 'tensorbord'; did you mean 'tensorboard'?")


@pytest.mark.parametrize(("cls", "config"), [(WandB, WandBConfig()), (MLflow, MLflowConfig())])
def test_a_package_that_is_missing_is_one_sentence(
    cls: type[Tracker], config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{cls.__module__}.find_spec", lambda name: None)
    name = cls.__module__.rpartition(".")[2]
    with pytest.raises(UserError, match=rf"the tracker {name} needs a package; pip install 'torch-ganzoo\[{name}\]'"):
        cls(config)


@pytest.mark.parametrize(("name", "setting"), [("wandb", "mode=offline"), ("mlflow", "uri=sqlite:///{}/mlflow.db")])
@pytest.mark.filterwarnings("ignore")  # of what they import
def test_they_conform(name: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)  # MLflow keeps pictures in the current folder
    check(name, [setting.format(tmp_path)])  # absolute: what it has opened, MLflow keeps by name


@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_beside_the_runs_and_goes_on_with_its_run(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    run = trained(cli, "--tracker", "wandb", "--set", "tracker.wandb.mode=offline")
    identity = (run / "wandb-id.txt").read_text().strip()
    assert cli("train", "--resume", str(run), "--steps", "6", "-q").code == 0
    files = sorted(tmp_path.glob("runs/wandb/offline-run-*/*.wandb"))
    assert [file.name for file in files] == [f"run-{identity}.wandb"] * 2
    assert all(b"generator/loss" in file.read_bytes() for file in files)
    assert (run / "wandb-id.txt").read_text().strip() == identity


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_every_step_and_picture_once(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.chdir(tmp_path)
    run = trained(cli, "--tracker", "mlflow", "--set", f"tracker.mlflow.uri=sqlite:///{tmp_path}/mlflow.db")
    assert cli("train", "--resume", str(run), "--steps", "6", "-q").code == 0
    server = client(f"sqlite:///{tmp_path}/mlflow.db")
    (known,) = server.search_runs([server.get_experiment_by_name("ganzoo").experiment_id])
    assert (known.info.run_name, known.info.status) == (run.name, "FINISHED")
    assert known.data.params["model.optimizer.lr"] == "0.001"
    history = server.get_metric_history(known.info.run_id, "generator/loss")
    assert [each.step for each in history] == [2, 4, 6]
    grids = [each.path for each in server.list_artifacts(known.info.run_id, "samples")]
    assert grids == [f"samples/{step:06d}.png" for step in (0, 2, 4, 6)]


def test_a_tracker_that_fails_is_named_once_and_told_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    import random

    told: list[Any] = []

    class Broken(Tracker):
        def log(self, step: int, metrics: Any) -> None:
            told.append(step)
            raise KeyError("fid")

    class Whole(Tracker):
        def log(self, step: int, metrics: Any) -> None:
            random.random()
            told.append(metrics)

        def finish(self, step: int, outcome: Any) -> None:
            told.append(outcome)

    followers = Followers(load_registry(), {"broken": Broken(None), "whole": Whole(None)})  # type: ignore[arg-type]
    random.seed(0)
    before = random.getstate()
    with caplog.at_level(logging.WARNING, "ganzoo"):
        for step in (1, 2):
            followers.notify("ganzoo_log", run=Path(), step=step, metrics={"a": 1.0})
        followers.notify("ganzoo_checkpoint", run=Path(), step=2, path=Path())
        followers.notify("ganzoo_fit_end", run=Path(), step=2, outcome="done")
    assert told == [1, {"a": 1.0}, {"a": 1.0}, "done"]
    assert caplog.messages == ["the tracker 'broken' failed in log and is told nothing more: KeyError: 'fid'"]
    assert random.getstate() == before
