"""What figures are worth: judges that err are told about, and which way is good is said."""

import hashlib
import json
import logging
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, TINY, Command, Outcome
from noisy import toy

from ganzoo import Metric, load_registry
from ganzoo_plugins.datasets.points import Gaussians
from ganzoo_plugins.metrics import evaluator
from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig, accuracy_warnings
from ganzoo_plugins.metrics.label_accuracy import LabelAccuracy

METRICS = [entry.spec.key for entry in load_registry().specs("metric")]


pytestmark = pytest.mark.usefixtures("own_caches")


images = partial(toy, labels=3)


def quick(steps: int, *names: str) -> list[str]:
    return [part for name in names for part in ("--set", f"metric.{name}.classifier.steps={steps}")]


def told(done: Outcome) -> list[str]:
    """The warnings of a command that succeeded."""
    assert done.code == 0, done.err
    return [line for line in done.err.splitlines() if line.startswith("warning: ")]


# ---------------------------------------------------------------------------------------------------------------------
# Judges that err


USERS = ("classifier", "fid", "kid", "prdc", "inception_score", "memorization")
"""The metrics that see digits through the data set's classifier."""


def test_a_poor_judge_is_told_about_once(cli: Command, digits: Path, tmp_path: Path) -> None:
    every = [part for name in USERS for part in ("--metric", name)]
    done = cli("eval", digits, *every, *quick(1, *USERS), "-n", 40, "--out", tmp_path / "judged", "--json")
    (warning,) = told(done)
    accuracy = json.loads(done.out)["evaluators"]["fid"]["accuracy_real"]
    assert accuracy < 0.5
    for words in (f"right about {accuracy:.1%} of 179 real images", "metric.NAME.classifier.steps=", "more data",
                  "extractor=inception", "classifier_digits_1_steps is too poor an evaluator"):  # fmt: skip
        assert words in warning
    assert json.loads(done.out)["warnings"] == [warning.removeprefix("warning: ")]
    assert json.loads((tmp_path / "judged" / "eval.json").read_text()) == json.loads(done.out)


@pytest.mark.parametrize("name", USERS)
def test_every_metric_that_uses_it_tells(cli: Command, digits: Path, name: str) -> None:
    done = cli("eval", digits, "--metric", name, *quick(1, name), "-n", 40, "--json")
    assert len(told(done)) == len(json.loads(done.out)["warnings"]) == 1


def test_a_good_judge_is_not_told_about(cli: Command, digits: Path) -> None:
    done = cli("eval", digits, "--metric", "classifier", *quick(60, "classifier"), "-n", 40, "--json")
    assert json.loads(done.out)["evaluators"]["classifier"]["accuracy_real"] > 0.9
    assert told(done) == json.loads(done.out)["warnings"] == []


@pytest.mark.parametrize(
    ("accuracy", "chance", "images", "words"),
    [
        (0.42, 0.1, 500, "too poor an evaluator: it is right about 42.0% of 500 real images"),
        (0.77, 0.1, 500, "too poor"),
        (0.78, 0.1, 500, ""),
        (0.86, 0.5, 500, "too poor"),  # of two classes, guessing gets half
        (0.88, 0.5, 500, ""),
        (0.95, 0.95, 500, "the most frequent class about 95.0%"),  # it has learnt nothing but that
        (1.0, 1.0, 500, "too poor"),  # a single class
        (1.0, 0.5, 2, "known from 2 real images alone"),
    ],
)
def test_what_is_too_poor(accuracy: float, chance: float, images: int, words: str) -> None:
    found = accuracy_warnings("it", accuracy, chance, images, "do something")
    assert len(found) == bool(words)
    for sentence in found:
        assert words in sentence
        assert sentence.endswith("; do something")


def test_the_measure_is_how_much_of_a_models_accuracy_is_seen() -> None:
    """The docstring's claim, with errors that are spread evenly over the other classes."""
    rng, classes, accuracy = np.random.default_rng(0), 5, 0.7

    def measured(true: float, n: int = 400_000) -> float:
        def other(which: np.ndarray) -> np.ndarray:
            return (which + rng.integers(1, classes, n)) % classes

        asked = rng.integers(0, classes, n)
        drawn = np.where(rng.random(n) < true, asked, other(asked))
        seen = np.where(rng.random(n) < accuracy, drawn, other(drawn))
        return float((seen == asked).mean())

    kappa = (accuracy - 1 / classes) / (1 - 1 / classes)
    assert measured(0.9) - measured(0.4) == pytest.approx(kappa * 0.5, abs=0.01)


def test_what_is_known_of_a_judge_is_kept_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = images(200, labels=2)
    first = Evaluator(dataset, EvaluatorConfig(steps=1))
    known, warned = first.metadata(), first.warnings()
    monkeypatch.setattr(evaluator, "_EVALUATORS", {})
    monkeypatch.setattr(Evaluator, "_train", lambda *_: pytest.fail("trained again"))
    again = Evaluator(dataset, EvaluatorConfig(steps=1))
    assert (again.metadata(), again.warnings()) == (known, warned)
    assert 0.5 <= known["accuracy_chance"] < 1


@pytest.mark.parametrize("judged", ["by a classifier", "by the data set"])
def test_labels_are_judged_by_somebody_who_knows_them(judged: str) -> None:
    dataset = images(400, labels=4)
    if judged == "by the data set":
        dataset.measure = lambda pixels: {"y": torch.zeros(len(pixels), dtype=torch.int64)}
    metric = LabelAccuracy(LabelAccuracy.Config(samples=40, classifier=EvaluatorConfig(steps=1)), dataset)
    metric(torch.zeros(8, 1, 8, 8), {"y": torch.arange(8) % 4})
    (sentence,) = metric.warnings()
    assert "too poor an evaluator" in sentence
    if judged == "by the data set":
        assert "what toy measures as 'y'" in sentence
        dataset.measure = lambda pixels: {"y": pixels[:, 0, 0, 0].long() % 4}
        dataset.tensors["x"][:, 0, 0, 0] = dataset.tensors["y"].to(torch.uint8)
        good = LabelAccuracy(LabelAccuracy.Config(samples=40), dataset)
        assert good.reference() == {"y": 1.0}
        assert good.warnings() == []


def test_a_training_says_it_once(cli: Command, caplog: pytest.LogCaptureFixture) -> None:
    metric = ["--set", "metric.fid.samples=20", *quick(1, "fid")]
    with caplog.at_level(logging.WARNING, "ganzoo"):
        done = cli("train", *TINY["digits"], "--set", "sample_every=1", "--steps", 3, "-q", *metric)
    assert done.code == 0, done.err
    (message,) = [record.getMessage() for record in caplog.records if "too poor an evaluator" in record.getMessage()]
    assert "classifier_digits_1_steps" in message


# ---------------------------------------------------------------------------------------------------------------------
# Which way is good


def test_every_figure_says_which_way_is_good(cli: Command, digits: Path, trained: dict[str, Path]) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for key in METRICS:
        cls: type[Metric] = load_registry().get("metric", key).spec.load()
        assert cls.better, key
        assert set(cls.better.values()) <= {"higher", "lower", "as real"}
        assert all(f"`{name}`" in page for name in (key, *filter(None, cls.better)))
    names = ("classifier", "fid", "prdc", "memorization")
    done = cli("eval", digits, *quick(2, *names), "-n", 40)
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    name = "classifier_digits_2_steps"
    expected = {
        f"fid/{name}": "lower", f"prdc/{name}/precision": "higher", "classifier/inception_score": "higher",
        f"memorization/{name}/ratio": "as real", f"memorization/{name}/copies": "lower",
    }  # fmt: skip
    assert rows["figure"].endswith("better")
    for figure, way in expected.items():
        assert rows[figure].endswith(f"  {way}")
    document = json.loads((digits / "eval.json").read_text())
    assert document["better"].keys() == document["figures"].keys()
    assert {figure: document["better"][figure] for figure in expected} == expected

    done = cli("compare", digits, trained["gaussians"])
    table = {line.partition("  ")[0]: line for line in done.out.splitlines()}
    assert table[f"eval fid/{name}"].endswith("  lower")
    assert table["modes/covered"].endswith("  higher")
    assert not table["modes/of"].endswith(("higher", "lower")), "others are held against it"
    assert not table["generator/loss"].endswith(("higher", "lower"))
    one, other = json.loads(cli("compare", digits, trained["gaussians"], "--json").out)
    assert one["better"][f"fid/{name}"] == "lower"
    assert other["better"] == {"modes/covered": "higher", "modes/high_quality": "higher", "modes/kl": "lower"}


def test_info_says_it(cli: Command) -> None:
    assert "  better: covered higher, high_quality higher, kl lower\n" in cli("info", "modes").out
    assert "  better: lower\n" in cli("info", "fid").out
    (document,) = json.loads(cli("info", "memorization", "--json").out)
    assert document["better"] == {"ratio": "as real", "copies": "lower"}


def test_a_metric_need_not_say_it() -> None:
    class Silent(Metric):
        def __call__(self, samples, condition):
            return {"figure": 1.0}

    assert Silent.direction("silent/figure") is None
    assert list(Silent(Silent.Config(), images(1)).warnings()) == []


def test_modes_of_samples_that_are_at_none() -> None:
    """No distribution over the modes is not an even one."""
    metric = load_registry().get("metric", "modes").spec.load()
    figures = metric(metric.Config(), Gaussians(Gaussians.Config(size=10)))(torch.full((5, 2), 100.0), {})
    assert figures == pytest.approx({"covered": 0, "of": 9, "high_quality": 0, "kl": math.log(9)})


# ---------------------------------------------------------------------------------------------------------------------
# Files that torch refuses to load


def harmful(path: Path) -> None:
    """Write what torch.load advises to load unchecked."""

    class Harm:
        def __reduce__(self):
            return print, ("harm",)

    torch.save({"weights": Harm()}, path)


def test_nobody_is_advised_to_load_a_file_unchecked(cli: Command, digits: Path, tmp_path: Path) -> None:
    harmful(tmp_path / "inception.pth")
    weights = ["--set", f"metric.fid.weights={tmp_path / 'inception.pth'}"]
    done = cli("eval", digits, "--metric", "fid", *weights, "-n", 3)
    (sentence,) = done.err.splitlines()
    assert (done.code, done.out) == (2, "")
    for words in ("inception.pth", "the file is damaged, or holds something else than tensors"):
        assert words in sentence
    assert "weights_only" not in sentence

    (checkpoint,) = (digits / "checkpoints").glob("step-*")
    harmful(checkpoint / "state.pt")
    manifest = json.loads((checkpoint / "checkpoint.json").read_text())
    manifest["sha256"]["state.pt"] = hashlib.sha256((checkpoint / "state.pt").read_bytes()).hexdigest()
    (checkpoint / "checkpoint.json").write_text(json.dumps(manifest))
    done = cli("train", "--resume", digits, "--steps", 6, "-q")
    assert "weights_only" not in done.refused("state.pt is cut short, or holds something else than tensors")
    assert "harm" not in done.out
