"""What figures are worth: judges that err are told about, which way is good is said, and too little is refused."""

import hashlib
import json
import logging
import math
import shutil
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import ROOT, TINY, Command, Outcome

from ganzoo import DataSpec, Image, Label, Metric, TensorDataset, UserError, load_registry
from ganzoo_plugins.datasets.points import Curves, Gaussians
from ganzoo_plugins.metrics import evaluator
from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig, accuracy_warnings
from ganzoo_plugins.metrics.label_accuracy import LabelAccuracy

OF_OTHERS = (
    *(
        "caption_accuracy",
        "grammar",
        "nll_oracle",
        "nll_test",
        "bleu",
        "copies",
        "frechet_text",
        "marginal",
        "autocorrelation",
        "tstr",
    ),
    *("column_shapes", "column_pairs", "ml_efficacy", "distance_to_closest_record"),
)
"""Metrics of texts, series, rows and captions, which have tests of their own."""

METRICS = [entry.spec.key for entry in load_registry().specs("metric")]


@pytest.fixture(autouse=True, scope="module")
def own_caches(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("hub")))
        yield


@pytest.fixture
def digits(trained, tmp_path) -> Path:
    """A run that may be written to."""
    return Path(shutil.copytree(trained["digits"], tmp_path / "runs" / trained["digits"].name))


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
# Hardly any samples, hardly any data


def images(size: int, channels: int = 1, side: int = 8, labels: int = 3, **known: object) -> TensorDataset:
    """Noise, in classes if there are ``labels``."""
    rng = torch.Generator().manual_seed(0)
    image = Image(channels, side, side, range=(0, 255))
    fields, tensors = (image,), {"x": torch.randint(256, (size, *image.shape), generator=rng).to(torch.uint8)}
    if labels:
        fields += (Label(labels),)
        tensors["y"] = torch.arange(size) % labels
    dataset = TensorDataset(DataSpec("toy", fields, size), tensors)
    for name, value in known.items():
        setattr(dataset, name, value)
    return dataset


def pairs(size: int) -> TensorDataset:
    one, other = (Image(1, 8, 8, range=(0, 255), name=name) for name in "ab")
    pixels = images(size, labels=0).tensors["x"]
    return TensorDataset(DataSpec("pairs", (one, other), size), {"a": pixels, "b": 255 - pixels})


DATA = {
    "grey": lambda size: images(size),
    "rgb": lambda size: images(size, channels=3),
    "below 8 x 8": lambda size: images(size, side=7),
    "one pixel, no labels": lambda size: images(size, side=1, labels=0),
    "one class": lambda size: images(size, labels=1),
    "all alike": lambda size: alike(size),
    "stacked": lambda size: images(size, 3, labels=0, digits=[images(40, labels=10).tensors[name] for name in "xy"]),
    "pairs": pairs,
    "gaussians": lambda size: Gaussians(Gaussians.Config(size=size)),
    "curves": lambda size: Curves(Curves.Config(size=size)),
}


def alike(size: int) -> TensorDataset:
    dataset = images(size)
    dataset.tensors["x"][:] = 7
    return dataset


@pytest.mark.parametrize("key", [key for key in METRICS if key not in OF_OTHERS])
def test_figures_or_a_sentence_of_however_little(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every metric, of every number of samples and of images, of every kind: a finite figure or a sentence."""
    cls: type[Metric] = load_registry().get("metric", key).spec.load()
    settings = {"classifier": EvaluatorConfig(steps=2)} if "classifier" in cls.Config.model_fields else {}
    spaces = [{}, {"space": "pixels"}] if key == "memorization" else [{}]
    computed, sentences = 0, set()
    for make in DATA.values():
        for size in (1, 2, 3, 4, 19, 20, 40):
            for n in (1, 2, 3, 10):
                for space in spaces:
                    dataset = make(size)
                    try:
                        metric = cls(cls.Config(samples=n, **settings, **space), dataset)
                        figures = judged(metric, dataset, n)
                        metric.draw(tmp_path, torch.zeros(n, *dataset.spec.sample.shape))
                    except UserError as error:
                        sentences.add(str(error))
                        continue
                    computed += 1
                    assert all(map(math.isfinite, figures.values())), (figures, make, size, n)
    assert computed > 5
    assert not any("\n" in sentence for sentence in sentences)
    assert capsys.readouterr() == ("", "")


def judged(metric: Metric, dataset: TensorDataset, n: int) -> dict[str, float]:
    """The figures of n samples, and of real ones, with all that goes with them."""
    rng = torch.Generator().manual_seed(1)
    condition = {}
    if dataset.spec.name == "pairs":  # of examples there may be fewer than samples are asked for
        condition = {"a": dataset.examples(min(n, 3))["a"].float()}
        n = len(condition["a"])
    elif len(dataset.spec.fields) > 1:
        condition = {"y": torch.arange(n) % dataset.spec.fields[1].classes}
    drawn = torch.rand(n, *dataset.spec.sample.shape, generator=rng) * 200
    metric.prepare(quiet=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = metric(drawn, condition)
        figures |= {f"real {name}": value for name, value in metric.reference().items()}
    assert metric.metadata() is not None
    assert all("\n" not in sentence for sentence in metric.warnings())
    return figures


@pytest.mark.parametrize("size", [1, 2, 19, 20])
def test_eval_of_hardly_any_images(cli: Command, digits: Path, tmp_path: Path, size: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(size):
        path = tmp_path / "own" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(path)
    own = ["--data", "folder", "--set", "data.path=own", "--set", "data.mode=grey"]
    names = ("classifier", "fid", "prdc", "memorization")
    for n in (1, 2, 10):
        done = cli("eval", digits, *own, *quick(2, *names), "-n", n, "--out", tmp_path / "judged")
        if size < 20:
            # A single image is in no class beside another.
            done.refused("no metric suits folder", f"folder has {size} of 8 x 8" if size > 1 else "images with labels")
            continue
        assert len(told(done)) == 1
        reason = f"prdc is left out: at least 6 samples and 12 images are needed to compare them, and here are {n} and"
        assert (reason in done.err) == (n < 6)
        figures = json.loads((tmp_path / "judged" / "eval.json").read_text())["figures"]
        assert None not in figures.values()
    named = cli("eval", digits, *own, "--metric", "prdc", *quick(2, "prdc"), "-n", 3)
    named.refused({1: "has no labels", 20: "at least 6 samples"}.get(size, "needs 20 images"))


@pytest.mark.parametrize("key", ["fid", "kid", "prdc", "inception_score"])
def test_fewer_samples_than_were_asked_for(key: str) -> None:
    """What translates the data's examples gets as many samples as there are examples."""
    cls: type[Metric] = load_registry().get("metric", key).spec.load()
    metric = cls(cls.Config(samples=20, classifier=EvaluatorConfig(steps=2)), images(40))
    with pytest.raises(UserError, match=r"at least \d+ samples and \d+ images .* here are 1 and 40"):
        metric(torch.zeros(1, 1, 8, 8), {})


class Undefined(Metric):
    """Cannot tell."""

    def __call__(self, samples, condition):
        return {"figure": math.nan, "other": 1.0}


class Refuses(Metric):
    """Finds out late that it cannot evaluate."""

    default_for = ("image",)

    def __call__(self, samples, condition):
        raise UserError("these samples are not to my taste")


def test_no_figure_is_silently_undefined(cli: Command, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganzoo_plugins.metrics.distances.FID", Undefined)
    monkeypatch.setattr("ganzoo_plugins.metrics.distances.KID", Refuses)
    done = cli("eval", digits, "--metric", "fid", "-n", 3, "--json")
    (warning,) = told(done)
    assert "fid/figure cannot be computed" in warning
    document = json.loads(done.out)
    assert document["figures"] == {"fid/figure": None, "fid/other": 1.0}
    assert document["warnings"] == [warning.removeprefix("warning: ")]
    done = cli("eval", digits, "--metric", "kid", "-n", 3)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1] == "ganzoo: these samples are not to my taste"


def test_what_cannot_judge_after_all_is_left_out(cli: Command, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganzoo_plugins.metrics.distances.FID", Refuses)
    done = cli("eval", digits, *quick(2, "classifier", "prdc", "memorization"), "-n", 10, "--json")
    assert done.code == 0, done.err
    assert "fid is left out: these samples are not to my taste\n" in done.err
    assert "classifier/quality" in json.loads(done.out)["figures"]
    assert "fid" not in json.loads(done.out)["samples"]


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
