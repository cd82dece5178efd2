"""Figures of hardly any samples and of hardly any data: a number or a sentence, and none that is undefined."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import Command
from test_poor_classifiers import METRICS, images, quick, told

from ganzoo import DataSpec, Image, Metric, TensorDataset, UserError, load_registry
from ganzoo_plugins.datasets.points import Curves, Gaussians
from ganzoo_plugins.metrics.evaluator import EvaluatorConfig

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

pytestmark = pytest.mark.usefixtures("own_caches")


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
