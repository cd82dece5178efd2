"""The best checkpoint by a metric is kept, named and opened; a training ends when nothing gets better."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from pathlib import Path

import pytest

import ganzoo
from ganzoo import Run, UserError, load_registry
from ganzoo.runs import checkpoint

TINY = {
    "batch_size": 8,
    "log_every": 2,
    "sample_every": 2,
    "checkpoint_every": 2,
    "keep_checkpoints": 1,
    "model": {"hidden": [4]},
    "data": {"size": 100},
    "metric": {"modes": {"samples": 20}},
}

Set = Callable[..., None]


@pytest.fixture(autouse=True)
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Set:
    """Let the metric say what a test wants, an evaluation after another from step 0 on, and then the last."""
    monkeypatch.chdir(tmp_path)
    cls = load_registry().get("metric", "modes").spec.load()

    def say(*values: float) -> None:
        left = list(values)
        monkeypatch.setattr(
            cls, "__call__", lambda *_: {"count": 1.0, "kl": left.pop(0) if left[1:] else left[0], "covered": 1.0}
        )

    say(1)
    return say


def trained(*sets: str, steps: int = 8, keep_best: str = "modes/kl") -> Run:
    sets = (f"keep_best={keep_best}", *sets)
    return ganzoo.train("gan_fc", data="gaussians", steps=steps, config=TINY, sets=sets, quiet=True)


def kept(run: Run) -> list[int]:
    return list(checkpoint.steps(run.checkpoints))


def test_the_best_survives_and_can_be_opened(figures: Set, cli) -> None:
    figures(9, 3, 1, nan, 2)
    run = trained()
    assert kept(run) == [4, 8], "the newest one, and the best"
    assert checkpoint.best(run.checkpoints).name == "step-000004"
    assert (
        "- Best checkpoint: step 4, modes/kl 1 (`0001-gan_fc-gaussians@best`)" in (run.path / "README.md").read_text()
    )
    best, at, last = (ganzoo.load(f"{run}{which}") for which in ("@best", "@4", ""))
    assert best.name == f"{run.path}@best"
    assert [each.metadata["training"]["step"] for each in (best, at, last)] == [4, 4, 8]
    assert (best.sample(5) == at.sample(5)).all()
    assert (best.sample(5) != last.sample(5)).any()
    assert ganzoo.load(Run.open("last@best")).metadata["training"]["step"] == 4
    assert cli("sample", "1@best", "-n", 5, "--out", "a.npz").code == 0
    assert cli("eval", "1@best", "--json").out.startswith("{")
    assert not (run.path / "eval.json").exists(), "that is of the last"
    tuned = ganzoo.train("gan_fc", data="gaussians", steps=1, config=TINY, from_="1@best", quiet=True)
    source = tuned.document()["source"]
    assert source["step"] == 4
    assert source["name"].endswith("0001-gan_fc-gaussians@best")
    cli("sample", "2@best").refused("has no best checkpoint", "keep_best=METRIC")
    cli("sample", "1@6").refused("no checkpoint of step 6", "4, 8")
    cli("train", "--resume", "1@best").refused("--from-step")


def test_higher_is_better_where_the_metric_says_so_and_one_between_checkpoints_is_saved(
    figures: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = load_registry().get("metric", "modes").spec.load()
    monkeypatch.setattr(cls, "better", {"kl": "higher"})
    figures(0, 1, 5, 5, 2)
    run = trained("checkpoint_every=8", keep_best="modes")
    assert kept(run) == [4, 8], "the first of equal ones; the metric's first figure that has a direction"


def test_a_resumed_training_decides_as_one_that_was_not_interrupted(figures: Set) -> None:
    figures(9, 3, 1)
    run = trained(steps=4)
    figures(2)
    ganzoo.train(resume=run, steps=8, quiet=True)
    assert kept(run) == [4, 8]
    figures(0.5, 2)
    ganzoo.train(resume=run, steps=10, from_step=4, quiet=True)
    assert kept(run) == [6, 10]
    (run.checkpoints / "best").unlink()  # as after a crash between the two files
    ganzoo.train(resume=run, steps=12, quiet=True)
    assert checkpoint.best(run.checkpoints).name == "step-000006"
    ganzoo.train(resume=run, steps=14, sets=["keep_best=modes/covered"], quiet=True)
    assert kept(run) == [6, 14], "of those that are still there"


def test_it_ends_when_nothing_gets_better(figures: Set, cli) -> None:
    figures(9, 3, 1, 2)
    run = trained("stop_after=2", steps=100)
    assert kept(run) == [4, 8]
    assert "8 of 100 steps" in (run.path / "README.md").read_text()
    again = cli("train", "--resume", "1")
    assert again.code == 0
    assert "ended after step 8: 2 evaluations without a better modes/kl" in again.err
    assert "--set stop_after=4" in again.err
    assert "best: step 4, modes/kl 1, which is" in again.err
    assert cli("train", "--resume", "1", "--set", "stop_after=3").code == 0
    assert kept(run) == [4, 10]


def test_one_evaluation_is_no_plural(figures: Set, cli) -> None:
    figures(9, 3, 4)
    trained("stop_after=1", steps=100)
    assert "ended after step 4: 1 evaluation without a better modes/kl" in cli("train", "--resume", "1").err


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("fid", "does not compute .there is: modes"),
        ("modes/count", "no direction"),
        ("modes/ql", "no direction"),
        ("modes/high_quality", "none of the figures: modes/covered, modes/kl"),
    ],
)
def test_a_figure_that_is_none_is_refused(asked: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        trained(keep_best=asked)


def test_an_end_without_a_figure_is_refused() -> None:
    with pytest.raises(UserError, match="keep_best too"):
        ganzoo.train("gan_fc", data="gaussians", steps=2, config=TINY, sets=["stop_after=2"], quiet=True)
