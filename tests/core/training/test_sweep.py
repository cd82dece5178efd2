"""Sweeps: a run for each combination of settings, gone on with where they were stopped, compared at the end."""

from __future__ import annotations

import csv
import json
import random
from math import nan
from pathlib import Path

import pytest

import ganzoo
from ganzoo import Interrupted, Run, Sweep, TrainingError, UserError
from ganzoo.training import sweep as module
from ganzoo.training.best import Best
from ganzoo.training.sample_logger import SampleLogger
from ganzoo.training.search import Proposals, Range, parse_space, propose

pytestmark = pytest.mark.usefixtures("undrawn")

TINY = {
    "batch_size": 8,
    "log_every": 2,
    "sample_every": 2,
    "checkpoint_every": 2,
    "model": {"hidden": [4]},
    "data": {"size": 100},
    "metric": {"modes": {"samples": 20}},
    "tracker": {"tensorboard": False},
}
RATES = "model.optimizer.lr=0.001,0.002"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note the settings of each training, and let those be interrupted or fail that a test says."""
    calls: list[list[str]] = []
    train = module.train

    def noted(*args: object, **kwargs: object) -> Run:
        calls.append([*kwargs.get("sets", ())])
        return train(*args, **kwargs)

    monkeypatch.setattr(module, "train", noted)
    return calls


def swept(*over: str, steps: int = 2, **more: object) -> Sweep:
    return ganzoo.sweep("gan_fc", over=over, data="gaussians", steps=steps, config=TINY, quiet=True, **more)


def test_a_grid_has_a_run_for_each_combination_and_is_not_run_twice(counted: list, cli) -> None:
    found = swept(RATES, "model.latent_dim=3,4")
    assert found.path == Path("sweeps/gan_fc")
    assert (found.metric, found.better) == ("modes/count", "higher") or found.metric.startswith("modes/")
    assert [trial.settings for trial in found.trials] == [
        {"model.optimizer.lr": rate, "model.latent_dim": dim} for rate in (0.001, 0.002) for dim in (3, 4)
    ]
    for trial in found.trials:
        document = Run.open(found.path / trial.run).document()
        assert document["model"]["latent_dim"] == trial.settings["model.latent_dim"]
        assert document["keep_best"] == found.metric
        best = [
            row[found.metric] for row in Run(found.path / trial.run).metrics() if row["step"] and found.metric in row
        ]
        assert trial.value == (max if found.better == "higher" else min)(best)
    assert (found.path / "sweep.png").stat().st_size > 1000
    rows = [*csv.DictReader((found.path / "sweep.csv").read_text().splitlines())]
    assert float(rows[0][found.metric]) == pytest.approx(found.best.value)
    assert len(counted) == 4
    assert swept(RATES, "model.latent_dim=3,4").trials == found.trials
    more = swept(RATES, "model.latent_dim=3,4,5")
    assert len(counted) == len(more.trials) == 6, "only what is new"
    with pytest.raises(UserError, match="another steps"):
        swept(RATES, steps=4)


def test_one_that_fails_is_noted_and_the_next_begins(counted: list, monkeypatch: pytest.MonkeyPatch) -> None:
    train = module.train

    def failing(*args: object, **kwargs: object) -> Run:
        if "model.optimizer.lr=0.001" in kwargs["sets"]:
            raise TrainingError("=generator/loss is no longer finite")
        return train(*args, **kwargs)

    monkeypatch.setattr(module, "train", failing)
    found = swept(RATES)
    assert [trial.status for trial in found.trials] == ["failed", "done"]
    assert found.best == found.trials[1]
    assert "failed: =generator/loss" in (found.path / "sweep.csv").read_text()
    monkeypatch.setattr(module, "train", train)
    assert [trial.status for trial in swept(RATES).trials] == ["failed", "done"]
    assert sorted(trial.status for trial in swept(RATES, retry=True).trials) == ["done", "done"]
    assert len(counted) == 2


def test_one_that_is_stopped_goes_on_from_its_checkpoint(counted: list, monkeypatch: pytest.MonkeyPatch) -> None:
    train = module.train

    def stopped(*args: object, **kwargs: object) -> Run:
        train(*args, **{**kwargs, "steps": 2})
        raise Interrupted("stopped after step 2")

    monkeypatch.setattr(module, "train", stopped)
    with pytest.raises(Interrupted, match="stopped in trial 1; the same command goes on"):
        swept(RATES, steps=4)
    run = Run("sweeps/gan_fc/0001-gan_fc-gaussians")
    config = (run.path / "config.toml").read_text()
    (run.path / "config.toml").write_text(config.replace("\nsteps = 2\n", "\nsteps = 4\n"))  # as it would be
    monkeypatch.setattr(module, "train", train)
    found = swept(RATES, steps=4)
    assert [trial.status for trial in found.trials] == ["done", "done"]
    assert [trial.run for trial in found.trials] == ["0001-gan_fc-gaussians", "0002-gan_fc-gaussians"]
    assert [row["step"] for row in run.metrics() if "generator/loss" in row] == [2, 4]


def test_values_are_read_as_settings_and_drawn_alike() -> None:
    space = parse_space(["a.lr=1e-5..1e-3:log", "b=2..5", "c=adam,sgd", "d=[4],[8, 8]", "e=true,0.5,'x,y'"])
    assert space["a.lr"] == Range(1e-5, 1e-3, True)
    assert space["b"] == Range(2, 5)
    assert space["c"] == ["adam", "sgd"]
    assert space["d"] == [[4], [8, 8]]
    assert space["e"] == [True, 0.5, "x,y"]
    few, many = ([*propose(space, "random", count, 3)] for count in (5, 40))
    assert many[:5] == few
    assert {each["b"] for each in many} == {2, 3, 4, 5}
    below = sum(each["a.lr"] < 1e-4 for each in many)
    assert 10 < below < 30, "half of them in each decade"
    assert [*propose(parse_space(["c=1,2"]), "random", 9, 0)] == [{"c": 1}, {"c": 2}] or len(
        [*propose(parse_space(["c=1,2"]), "random", 9, 0)]
    ) == 2


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ((), "give --over"),
        (("lr",), "--over takes SETTING=VALUE"),
        (("ema=0.9", "ema=0.8"), "names ema twice"),
        (("ema=0.9..x",), "a range is LOW..HIGH"),
        (("ema=0.9..0.1",), "LOW is below HIGH"),
        (("ema=0..1:log",), "then LOW > 0"),
        (("ema=0.1..0.9",), "a grid has no ranges"),
        (("model.lattent_dim=3,4",), "model.latent_dim"),
        (("model.latent_dim=1" + "".join(f",{each}" for each in range(2, 200)), "model.n_critic=1..3"), "no ranges"),
    ],
)
def test_mistakes_are_sentences_before_anything_is_trained(over: tuple[str, ...], said: str, counted: list) -> None:
    with pytest.raises(UserError, match=said):
        swept(*over)
    assert not counted
    assert not [*Path("sweeps").glob("*/0*")]


def test_the_command(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = ganzoo.Trial({"ema": 0.9}, "0001-gan_fc", "done", 0.25, 2)
    asked: dict[str, object] = {}

    def swept(plugin: str, **given: object) -> Sweep:
        asked.update(given, plugin=plugin)
        return Sweep(Path("s"), "modes/kl", "lower", {}, [trial])

    monkeypatch.setattr(module, "sweep", swept)
    found = cli("sweep", "gan_fc", "--over", "ema=0.9", "--random", "--trials", 3, "--metric", "modes/kl", "--steps", 2)
    assert not asked["prune"]
    assert "0001-gan_fc  0.9  0.25      2     done" in found.out
    assert (asked["method"], asked["trials"], asked["metric"], asked["steps"]) == ("random", 3, "modes/kl", 2)
    assert json.loads(cli("sweep", "gan_fc", "--over", "ema=0.9", "--json").out)["trials"][0]["value"] == 0.25
    cli("sweep", "gan_fc", "--over", "ema=0.9", "--prune")
    assert asked["prune"]
    cli("sweep", "gan_fc", "--over", "ema=0.9", "--random", "--tpe").refused("leave one of them out")


def test_optuna_proposes_by_what_came_before() -> None:
    pytest.importorskip("optuna")
    space = parse_space(["x=0.0..1.0", "kind=a,b"])
    proposals = Proposals(space, "lower", 0)
    before: list[tuple[dict[str, object], float | None]] = []
    for _ in range(20):
        settings = proposals(before)
        before.append((settings, abs(settings["x"] - 0.3) + (settings["kind"] == "b")))
    assert proposals(before) == Proposals(space, "lower", 0)(before), "it goes on as it would have"
    late = [settings["x"] for settings, _ in before[-5:]]
    assert sum(abs(each - 0.3) for each in late) / 5 < 0.2
    proposals([*before, ({"x": 0.5, "kind": "a"}, None), ({"other": 1}, 2.0)])


def pruned(monkeypatch: pytest.MonkeyPatch, metric: str, figures: dict[int, tuple[float, ...]]) -> Sweep:
    """Sweep over seeds that have these figures after steps 2, 4 and 6."""

    def draw(logger: SampleLogger) -> dict[str, float]:
        return {metric: figures[logger.loop.settings.seed][logger.loop.step // 2 - 1]} if logger.loop.step else {}

    monkeypatch.setattr(SampleLogger, "draw", draw)
    monkeypatch.setattr(Best, "check", lambda *_: None)
    return swept(f"seed={','.join(map(str, figures))}", steps=6, metric=metric, prune=True)


def ends(found: Sweep) -> dict[int, int]:
    """Return the last step of each trial that was pruned."""
    runs = {trial.settings["seed"]: Run(found.path / trial.run) for trial in found.trials if trial.status == "pruned"}
    return {seed: run.metrics()[-1]["step"] for seed, run in runs.items()}


def test_a_trial_that_is_worse_than_the_median_ends(counted: list, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        1: (5.0, 4.0, 3.0),
        2: (6.0, 5.0, 9.0),
        3: (7.0, 6.0, 5.0),
        4: (8.0, 7.0, 6.0),
        5: (9.0, 8.0, 7.0),  # too early: four are done
        6: (7.0, 6.0, 1.0),  # the medians themselves
        7: (6.5, 6.1, 0.0),
        8: (nan, 0.0, 0.0),  # nothing is worse than anything
        9: (7.0, 6.0, 6.0),  # worse than 5.5 after the last step, where nothing is left to spare
        10: (1.0, 9.0, 9.0),  # the best so far counts
    }
    found = pruned(monkeypatch, "modes/kl", figures)
    assert ends(found) == {7: 4, 8: 2}
    assert [trial.value for trial in found.trials if trial.status == "pruned"] == [6.1, None]
    run = Run(found.path / found.trials[6].run)
    assert (run.checkpoints / "last").read_text().strip() == "step-000004"
    assert (found.path / "sweep.csv").read_text().count(",pruned") == 2
    assert pruned(monkeypatch, "modes/kl", figures).trials == found.trials
    assert len(counted) == 10, "none is trained again"
    ganzoo.train(resume=run.path, quiet=True)
    assert run.metrics()[-1]["step"] == 6, "by itself it may go on"


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered")  # by NumPy, in Optuna
def test_it_is_the_rule_of_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = pytest.importorskip("optuna")
    rng = random.Random(5)
    figures = {seed: tuple(rng.choice((1.0, 2.0, 3.0, 4.0, nan)) for _ in range(3)) for seed in range(1, 16)}
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=5))
    expected = {}
    for seed, course in figures.items():
        trial = study.ask()
        for step, value in zip((2, 4), course, strict=False):
            trial.report(value, step)
            if trial.should_prune():
                expected[seed] = step
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, 0.0)
    assert {2, 4} == {*expected.values()}
    assert ends(pruned(monkeypatch, "modes/covered", figures)) == expected


def test_pruning_needs_a_figure() -> None:
    with pytest.raises(UserError, match="name it with --metric"):
        swept(RATES, prune=True, without=["modes"])
