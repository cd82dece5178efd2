"""What commands do, called from Python: the same runs, figures and files, nothing on standard output."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import ganzoo
from ganzoo import Metric, Run, UserError, load_registry
from ganzoo.inference.saving import save_samples

TINY = {"batch_size": 16, "log_every": 2, "model": {"hidden": [8]}, "data": {"size": 500}}


@pytest.fixture(autouse=True)
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANZOO_ZOO", str(tmp_path / "zoo"))
    yield
    assert capsys.readouterr() == ("", "")


@pytest.fixture(scope="module")
def trained_points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    return ganzoo.train("gan_fc", data="gaussians", steps=4, config=TINY, quiet=True, out=out).path


@pytest.fixture
def points(trained_points: Path, silent: None) -> Run:
    """A run in the folder of the test, which may change it."""
    return Run.open(shutil.copytree(trained_points, Path("runs") / trained_points.name))


def test_a_run_is_trained_resumed_and_the_same_as_the_commands(points: Run, cli, tmp_path: Path) -> None:
    assert points.path == Path("runs/0001-gan_fc-gaussians")
    assert points.metrics()[-1]["step"] == 4
    assert ganzoo.train(resume=points, steps=6, quiet=True).path == points.path
    again = ganzoo.train(resume="last", from_step=4, steps=8, sets=["keep_checkpoints=5"], quiet=True)
    assert again.metrics()[-1]["step"] == 8
    whole = ganzoo.train("gan_fc", data="gaussians", steps=8, config=TINY, sets=["keep_checkpoints=5"], quiet=True)
    one, other = (ganzoo.load(run).sample(50, seed=3) for run in (points, whole))
    assert np.array_equal(one, other), "on a CPU, bit for bit"
    (tmp_path / "tiny.toml").write_text(
        "batch_size = 16\nlog_every = 2\n[model]\nhidden = [8]\n[data]\nsize = 500\nname = 'gaussians'\n"
    )
    options = ("--config", "tiny.toml", "--steps", 8, "--set", "keep_checkpoints=5", "-q", "--out", "command")
    assert cli("train", "-p", "gan_fc", *options).code == 0
    assert np.array_equal(one, ganzoo.load("command/0001-gan_fc-gaussians").sample(50, seed=3))


def test_arguments_lie_over_sets_and_these_over_the_config(points: Run) -> None:
    config = {**TINY, "seed": 1, "steps": 9, "regularizer": {"gradient_penalty": {"weight": 3}}}
    run = ganzoo.train(
        "gan_fc",
        data="gaussians",
        loss="hinge",
        regularizers=["r1"],
        without=["modes"],
        config=config,
        sets=["seed=2", "steps=7"],
        steps=2,
        out="elsewhere",
        quiet=True,
    )
    document = run.document()
    assert run.path == Path("elsewhere/0001-gan_fc-gaussians")
    assert (document["steps"], document["seed"], document["loss"]["name"]) == (2, 2, "torch-ganzoo/hinge")
    assert document["regularizer"].keys() == {"torch-ganzoo/gradient_penalty", "torch-ganzoo/r1"}
    assert document["metric"] == {"torch-ganzoo/modes": False}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "name a model"),
        ({"plugin": "gan_fd"}, "did you mean 'gan_fc'"),
        ({"plugin": "gan_fc", "config": {"stpes": 3}}, "did you mean 'steps'"),
        ({"plugin": "gan_fc", "config": "nothing.toml"}, "nothing.toml"),
        ({"plugin": "gan_fc", "from_step": 3}, "--from-step goes back in a run that is resumed"),
        ({"resume": "last", "seed": 3}, "--seed cannot change"),
        ({"resume": "last", "out": "x"}, "--out cannot change"),
        ({"resume": "last"}, "trained to its last step, 4"),
        ({"resume": "nowhere"}, "no run folder nowhere"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(points: Run, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ganzoo.train(**arguments, quiet=True)
    assert [path.name for path in Path("runs").iterdir()] == [points.path.name]


def test_a_model_without_a_data_set_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = load_registry().get("model", "gan_fc").spec.load()
    monkeypatch.setattr(cls, "defaults", {key: value for key, value in cls.defaults.items() if key != "data"})
    with pytest.raises(UserError, match="gan_fc does not suggest a data set; choose one with --data"):
        ganzoo.train("gan_fc", quiet=True)


def test_every_bundled_model_suggests_a_data_set() -> None:
    for entry in load_registry().specs("model"):
        assert entry.spec.load().defaults["data"]["name"], entry.name


def test_a_run_is_evaluated_and_compared(points: Run, cli) -> None:
    found = ganzoo.evaluate(points, n=200, quiet=True)
    assert found.figures.keys() == found.better.keys() == found.reference.keys()
    assert found.reference["modes/covered"] == 9
    assert found.better["modes/kl"] == "lower"
    assert found.samples.shape == (200, 2)
    assert found.save(points) == [points.path / "eval.json"]
    document = json.loads((points.path / "eval.json").read_text())
    assert document == found.document
    assert document["figures"] == found.figures
    shown = cli("eval", points.path, "-n", 200, "--json")
    assert (shown.code, json.loads(shown.out)) == (0, document)
    other = ganzoo.train("gan_fc", data="gaussians", steps=4, seed=5, config=TINY, quiet=True)
    compared = ganzoo.compare([points, other.path])
    assert [run.settings for run in compared.runs] == [{"seed": 0}, {"seed": 5}]
    assert [run.eval for run in compared.runs] == [found.figures, {}]
    assert compared.better["modes/covered"] == "higher"
    assert compared.better["generator/loss"] is None
    compared.plot("curves.png")
    assert Path("curves.png").stat().st_size > 1000
    with pytest.raises(UserError, match="did you mean 'fid'"):
        ganzoo.evaluate(points, metrics=["fdi"], quiet=True)


def test_an_old_eval_json_is_still_read(points: Run) -> None:
    old = {"schema": 1, "figures": {"modes/covered": 3, "modes/kl": None}, "real": {}, "judges": {}}
    (points.path / "eval.json").write_text(json.dumps(old))
    (run,) = ganzoo.compare([points]).runs
    assert run.eval == {"modes/covered": 3, "modes/kl": None}


class ForPoints(Metric):
    """Is computed on points unasked."""

    default_for = ("points",)

    def __call__(self, samples, condition):
        return {"mean": float(samples.mean())}


class ForConditions(ForPoints):
    """The same, but of conditional models alone."""

    conditional = True


def test_metrics_say_what_they_are_computed_on_unasked(points: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganzoo_plugins.datasets.points.Gaussians.metrics", ())
    with pytest.raises(UserError, match="no metric suits gaussians; name one with --metric"):
        ganzoo.evaluate(points, quiet=True)
    monkeypatch.setattr("ganzoo_plugins.metrics.distances.FID", ForPoints)
    monkeypatch.setattr("ganzoo_plugins.metrics.distances.KID", ForConditions)
    assert ganzoo.evaluate(points, n=20, quiet=True).figures.keys() == {"fid/mean"}


def test_the_metrics_of_images_come_in_this_order() -> None:
    entries = [entry for entry in load_registry().specs("metric") if "image" in entry.spec.load().default_for]
    assert [entry.spec.key for entry in entries] == ["classifier", "fid", "prdc", "memorization", "label_accuracy"]


def picture(path: str, size: int, channels: int) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, channels), np.uint8)
    PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return Path(path)


def test_images_are_translated_in_files_and_in_memory() -> None:
    image = picture("in/a.png", 40, 3)
    assert ganzoo.translate("zoo:pix2pix-shapes", image, "out.png", quiet=True) == [Path("out.png")]
    assert ganzoo.translate("zoo:pix2pix-shapes", "in", "out", quiet=True) == [Path("out/a.png")]
    with PIL.Image.open("out.png") as one, PIL.Image.open("out/a.png") as other:
        translated = ganzoo.Translator(ganzoo.load("zoo:pix2pix-shapes"))(PIL.Image.open(image))
        assert one.tobytes() == other.tobytes() == translated.tobytes()
    with pytest.raises(UserError, match="one output for an image"):
        ganzoo.translate("zoo:pix2pix-shapes", image, "out.png", n=2, quiet=True)
    with pytest.raises(UserError, match="nothing to translate"):
        ganzoo.translate("zoo:dcgan-mnist5k", image, "out.png", quiet=True)


def test_holes_are_filled_in_memory_too() -> None:
    image = PIL.Image.open(picture("in.png", 28, 1))
    mask = PIL.Image.fromarray(np.pad(np.full((10, 10), 255, np.uint8), 9))
    filled = ganzoo.Translator(ganzoo.load("zoo:inpaint_z-mnist5k"))(image, mask)
    assert np.array_equal(np.asarray(filled)[:9], np.asarray(image)[:9])


def test_images_are_encoded() -> None:
    files = [picture(f"in/{name}.png", 28, 1) for name in "ab"]
    found = ganzoo.encode("zoo:aae-mnist5k", "in", reconstruct=True, quiet=True)
    assert (found.latents.shape, found.latents.dtype) == ((2, 16), np.float32)
    assert (found.images.shape, found.reconstructions.shape) == ((2, 1, 28, 28),) * 2
    assert list(found.files) == files
    assert 0 < found.difference < 1
    found.save("latents.npz")
    with np.load("latents.npz") as saved:
        assert np.array_equal(saved["latents"], found.latents)
        assert saved["files"].tolist() == [str(path) for path in files]
    found.save_grid("round-trip.png")
    assert Path("round-trip.png").stat().st_size > 100
    alone = ganzoo.encode("zoo:aae-mnist5k", files[0], quiet=True)
    np.testing.assert_allclose(alone.latents, found.latents[:1], atol=1e-5)
    with pytest.raises(UserError, match="reconstruct=True"):
        _ = alone.reconstructions
    with pytest.raises(UserError, match="do without an encoder, with --optimize"):
        ganzoo.encode("zoo:dcgan-mnist5k", files[0], quiet=True)


def test_a_conditional_generator_is_encoded_for_with_its_labels() -> None:
    image = picture("in.png", 28, 1)
    with pytest.raises(UserError, match="say with --label"):
        ganzoo.encode("zoo:cgan-mnist5k", image, optimize=True, quiet=True)
    for label in (3, {"y": 3}):
        found = ganzoo.encode("zoo:cgan-mnist5k", image, optimize=True, steps=2, label=label, quiet=True)
        assert found.difference < 1


def test_samples_are_saved() -> None:
    sampler = ganzoo.load("zoo:dcgan-mnist5k")
    assert save_samples(sampler, "grid.png") == (64, Path("grid.png"))
    assert save_samples(sampler, "samples.npz", 5, seed=2) == (5, Path("samples.npz"))
    with np.load("samples.npz") as saved:
        assert np.array_equal(saved["samples"], sampler.sample(5, seed=2))
    assert save_samples(sampler, "folder", 3)[0] == 3
    assert len(list(Path("folder").glob("*.png"))) == 3
    with pytest.raises(UserError, match="or a folder, not samples"):
        save_samples(sampler, "samples.xyz")
