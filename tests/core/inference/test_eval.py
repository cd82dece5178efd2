"""``ganzoo eval`` and ``ganzoo compare`` on runs that were trained in no time."""

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ganzoo import TrainedModel

QUICK = [
    part
    for name in ("classifier", "fid", "prdc", "memorization")
    for part in ("--set", f"metric.{name}.classifier.steps=30")
]


pytestmark = pytest.mark.usefixtures("own_caches")


@pytest.fixture
def runs(trained, tmp_path):
    """Copies that may be written to."""
    return {data: Path(shutil.copytree(run, tmp_path / data / run.name)) for data, run in trained.items()}


def test_eval_of_images(cli, runs, tmp_path):
    run, name = runs["digits"], "classifier_digits_30_steps"
    done = cli("eval", run, *QUICK, "-n", 40, "--out", tmp_path / "judged")
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "judged" / "eval.json").read_text())
    assert set(document["figures"]) == {
        "classifier/inception_score", "classifier/quality", "classifier/diversity", "classifier/confident",
        f"fid/{name}", f"prdc/{name}/precision", f"prdc/{name}/recall", f"prdc/{name}/density",
        f"prdc/{name}/coverage", f"memorization/{name}/ratio", f"memorization/{name}/copies",
    }  # fmt: skip
    assert document["real"].keys() == document["figures"].keys()
    assert document["figures"][f"fid/{name}"] > 2 * document["real"][f"fid/{name}"]
    assert set(document["samples"].values()) == {40}
    assert document["seed"] == 1
    assert document["data"] == {"name": "torch-ganzoo/digits", "samples": 1797}
    assert document["evaluators"]["fid"]["evaluator"] == name
    assert document["evaluators"]["fid"]["compared"] == 40
    assert document["settings"]["prdc"]["neighbors"] == 5
    assert {"ganzoo", "torch", "torch-fidelity"} <= document["versions"].keys()
    assert document["training"]["step"] == 4
    with PIL.Image.open(tmp_path / "judged" / "memorization.png") as picture:
        assert picture.width > 100
    lines = done.out.splitlines()
    assert lines[0].split() == ["figure", "samples", "reference", "better"]
    row = next(line.split() for line in lines if line.startswith("fid/"))
    assert float(row[1]) == pytest.approx(document["figures"][f"fid/{name}"], rel=1e-3)
    assert float(row[2]) == pytest.approx(document["real"][f"fid/{name}"], rel=1e-3)
    assert "training classifier_digits_30_steps" in done.err
    assert not (run / "eval.json").exists(), "it was written elsewhere"

    # A file draws the same samples and knows its data set by name; it has no folder to write to.
    again = cli("eval", run / "generator.onnx", *QUICK, "-n", 40, "--json")
    assert again.code == 0, again.err
    assert "training classifier" not in again.err, "it was kept"
    assert "written" not in again.err
    other = json.loads(again.out)
    assert other["figures"] == pytest.approx(document["figures"], rel=1e-2, abs=0.03)
    assert other["real"] == document["real"]


def test_eval_of_points_is_kept_in_the_run(cli, runs):
    run = runs["gaussians"]
    done = cli("eval", run, "--set", "metric.modes.samples=300", "--seed", 4)
    assert done.code == 0, done.err
    document = json.loads((run / "eval.json").read_text())
    assert document["samples"] == {"modes": 300}
    assert document["seed"] == 4
    assert document["data"]["size"] == 500
    assert document["real"]["modes/covered"] == 9
    assert 0 <= document["figures"]["modes/high_quality"] <= 1
    assert f"written: {run / 'eval.json'}" in done.err

    ring = cli("eval", run, "--set", "data.layout=ring", "--set", "data.size=50", "--json")
    assert json.loads(ring.out)["real"]["modes/of"] == 8, "settings are laid over the run's"
    assert json.loads(ring.out)["data"]["size"] == 50


def test_the_condition_reaches_the_metric(cli, runs, monkeypatch):
    """A model that draws its label: a conditional run is not needed to see who is told what."""
    import torch

    from ganzoo import Image, Label, Latent, Signature
    from ganzoo_plugins.datasets.digits import Digits

    run = runs["digits"]

    class Measured(Digits):
        def measure(self, images):
            return {"y": (images[:, 0, 0, 0].double() / 25.5).round().long()}

    class Obedient:
        device = "here"
        signature = Signature((Latent((2,)), Label(10)), Image(1, 8, 8, range=(-1, 1)))
        metadata = {  # noqa: RUF012
            "signature": signature.to_json(),
            "data": {"name": "digits", "size": 1},
            "model": {},
            "training": {},
        }

        def sample(self, n, *, seed, **_):
            digit = torch.arange(n) % 10
            return (digit[:, None, None, None].expand(-1, 1, 8, 8) / 10 * 2 - 1).float().contiguous().numpy()

    monkeypatch.setattr("ganzoo.inference.evaluation.load", lambda *_, **__: TrainedModel(Obedient(), str(run)))
    monkeypatch.setattr("ganzoo_plugins.datasets.digits.Digits", Measured)
    done = cli("eval", run, "--metric", "label_accuracy", "-n", 30, "--json")
    assert json.loads(done.out)["figures"] == {"label_accuracy/y": 1.0}
    assert json.loads(done.out)["real"]["label_accuracy/y"] < 0.5, "this judge is no good at digits"
    done = cli("eval", run, *QUICK, "-n", 30, "--json")
    assert "label_accuracy/y" in json.loads(done.out)["figures"], "by default, since it takes labels"


def test_eval_says_what_is_wrong_in_one_sentence(cli, runs, tmp_path, monkeypatch):
    digits, points = runs["digits"], runs["gaussians"]
    (tmp_path / "file").touch()
    cli("eval", tmp_path / "nothing").refused("no run folder or file")
    cli("eval", digits, "-n", 0).refused("-n is at least 1")
    cli("eval", digits, "--seed", -1).refused("--seed is at least 0")
    cli("eval", digits, "--out", tmp_path / "file").refused("--out is a folder")
    cli("eval", digits, "--metric", "fdi").refused("did you mean 'fid'?")
    cli("eval", digits, "--metric", "modes").refused("needs a mixture with known centers", "digits")
    cli("eval", digits, "--metric", "label_accuracy").refused(
        "label_accuracy cannot be computed", "this model takes none"
    )
    cli("eval", points, "--metric", "fid").refused("evaluates images", "gaussians")
    cli("eval", digits, "--set", "steps=4").refused("metric.NAME.SETTING=VALUE", "'steps=4'")
    cli("eval", digits, "--set", "metric.fid=4").refused("metric.NAME.SETTING=VALUE")
    cli("eval", digits, "--set", "metric.fid.sampels=4").refused("did you mean 'metric.fid.samples'?")
    cli("eval", digits, "--set", "metric.kid.samples=4").refused("'kid'", "--metric kid")
    cli("eval", digits, "--metric", "fid", "--set", "metric.fid.samples=1").refused("at least 2 samples")
    cli("eval", digits, "--data", "mnist5k").refused("8 x 8", "28 x 28", "--data")
    cli("eval", digits, "--data", "curves").refused("draws images", "holds points")
    cli("eval", points, "--data", "curves").refused("no metric suits curves", "--metric")
    config = (digits / "config.toml").read_text()
    (digits / "config.toml").write_text(config.replace('"torch-ganzoo/digits"', '"torch-ganzoo/gone"'))
    cli("eval", digits).refused("gone")


def test_unlabeled_images_are_judged_by_what_is_here(cli, runs, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(30):
        pixels = rng.integers(0, 255, (8, 8), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    photos = ["--data", "folder", "--set", f"data.path={tmp_path / 'photos'}", "--set", "data.mode=grey"]
    done = cli("eval", runs["digits"], *photos, "-n", 12, "--json")
    assert done.code == 0, done.err
    assert set(json.loads(done.out)["figures"]) == {"memorization/pixels/ratio", "memorization/pixels/copies"}
    assert "fid is left out: folder has no labels" in done.err
    cli("eval", runs["digits"], *photos, "--metric", "fid").refused("InceptionV3 is not here", "metric.NAME.weights")


def test_compare(cli, runs, tmp_path):
    one = runs["digits"]
    other = Path(shutil.copytree(one, tmp_path / "digits" / "0002-other"))
    text = (other / "config.toml").read_text()
    (other / "config.toml").write_text(text.replace("seed = 0", "seed = 7", 1))
    (other / "eval.json").write_text(json.dumps({"figures": {"fid/classifier_digits": 12.5}}))
    done = cli("compare", one, other, runs["gaussians"], "--out", tmp_path / "curves.png")
    assert done.code == 0, done.err
    table = {line.partition("  ")[0]: line.split()[1:] for line in done.out.splitlines()}
    assert done.out.splitlines()[0].split() == [one.name, "0002-other", runs["gaussians"].name, "better"]
    assert table["model"] == ["wgan_gp_conv", "wgan_gp_conv", "gan_fc"]
    assert table["data"] == ["digits", "digits", "gaussians"]
    assert table["step"] == ["4", "4", "4"]
    assert table["seed"] == ["0", "7", "0"], "what differs is shown"
    assert "threads" not in table
    assert "sample_every" not in table
    assert table["eval fid/classifier_digits"][1:] == ["-", "12.5", "-", "lower"]
    last = [json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()][-1]
    assert float(table["generator/loss"][0]) == pytest.approx(last["generator/loss"], rel=1e-3)
    assert table["modes/covered"][:2] == ["-", "-"]
    with PIL.Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 800
    records = json.loads(cli("compare", one, other, "--json").out)
    assert [record["settings"] for record in records] == [{"seed": 0}, {"seed": 7}]
    assert records[1]["eval"] == {"fid/classifier_digits": 12.5}
    assert "rows" not in records[0]


def test_compare_says_what_is_wrong_in_one_sentence(cli, runs, tmp_path):
    run = runs["digits"]
    cli("compare", tmp_path).refused("is not a run folder")
    cli("compare").refused("RUN")
    cli("compare", run, "--out", "curves.pdf").refused("--out is a .png")
    (run / "eval.json").write_text("{")
    cli("compare", run).refused("eval.json is damaged", "ganzoo eval")
    (run / "eval.json").unlink()
    (run / "metrics.jsonl").unlink()
    assert cli("compare", run).code == 0
    cli("compare", run, "--out", "curves.png").refused("logged nothing yet")
    (run / "config.toml").write_text("steps = 4")
    cli("compare", run).refused("is not the config of a run")
