"""The classifier that judges images, and what it says of them; modes and copies."""

import logging
import math

import numpy as np
import pytest
import torch
from noisy import QUICK, toy

from ganzoo import DataSpec, Image, Label, Metric, MetricConfig, Points, TensorDataset, UserError, load_registry
from ganzoo_plugins.datasets.digits import Digits
from ganzoo_plugins.datasets.points import Gaussians
from ganzoo_plugins.metrics import evaluator, extractors
from ganzoo_plugins.metrics.classifier import ClassifierScore, scores
from ganzoo_plugins.metrics.distances import FID, KID
from ganzoo_plugins.metrics.evaluator import Classifier, Evaluator, EvaluatorConfig, Extracted, to_uint8
from ganzoo_plugins.metrics.label_accuracy import LabelAccuracy
from ganzoo_plugins.metrics.memorization import Memorization, nearest
from ganzoo_plugins.metrics.modes import Modes
from ganzoo_plugins.metrics.stacked_modes import StackedModes

pytestmark = pytest.mark.usefixtures("own_caches")


@pytest.fixture(scope="module")
def digits():
    return Digits(Digits.Config())


@pytest.fixture(scope="module")
def trained(own_caches, digits):
    quick = Evaluator(digits, QUICK)
    quick.prepare(quiet=True)
    return quick


def test_distances_compare_as_many_images_of_one_half_with_the_other(digits, trained):
    metric = FID(FID.Config(samples=100, classifier=QUICK), digits)
    assert metric.extractor.name == "classifier_digits_60_steps"
    (name,) = metric.reference()
    assert name == "classifier_digits_60_steps"
    reference, held_out = metric._halves
    assert len(reference) == len(held_out) == 100
    assert torch.equal(reference, FID(FID.Config(samples=100), digits)._halves[0]), "the same ones for everybody"
    whole = extractors.halves(digits, 10**6)
    assert [len(part) for part in whole] == [898, 898]
    rows = {image.numpy().tobytes() for image in whole[0]}
    both = sum(image.numpy().tobytes() in rows for image in whole[1])
    assert both < 5, "the halves share no image but a real twin"
    # What is drawn for another metric in excess of this one's samples changes nothing.
    assert metric(reference.float(), {})[name] == pytest.approx(0, abs=1e-3)
    assert metric(reference[:50].float(), {})[name] == pytest.approx(0, abs=1e-3), "as many of each"
    more = torch.cat([reference, held_out]).float()
    assert metric(more, {}) == metric(reference.float(), {})
    noise = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    assert metric(noise, {})[name] > 5 * metric.reference()[name]
    assert metric.metadata()["compared"] == 100


def test_metrics_share_what_they_extract(digits, trained, monkeypatch):
    samples = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(5)) * 255
    one, other = (cls(cls.Config(samples=50, classifier=QUICK), digits) for cls in (FID, KID))
    one(samples, {})
    monkeypatch.setattr(Classifier, "features", lambda self, images: pytest.fail("extracted twice"))
    other(samples, {})


def test_the_evaluator_learns_and_is_kept(digits, trained, capsys, monkeypatch):
    assert 0.9 < trained.accuracy <= 1
    images, labels = digits.tensors["x"][trained.held_out], digits.tensors["y"][trained.held_out]
    logits = trained.extract(images).logits
    assert float((logits.argmax(1) == labels).double().mean()) == trained.accuracy
    assert not set(trained.held_out.tolist()) & set(trained.training_rows.tolist())
    assert len(trained.held_out) + len(trained.training_rows) == len(digits)
    net = evaluator._EVALUATORS[trained._used].net
    assert torch.allclose(net.probabilities(images), logits.softmax(1))
    assert torch.allclose(trained.features(images.float()), trained.extract(images).features.double(), atol=1e-4)
    assert net.features(images).shape == (len(images), 64)

    # A later process reads it.
    monkeypatch.setattr(evaluator, "_EVALUATORS", {})
    monkeypatch.setattr(Evaluator, "_train", lambda *args: pytest.fail("trained again"))
    again = Evaluator(Digits(Digits.Config()), QUICK)
    before = torch.get_rng_state()
    again.prepare()
    assert torch.equal(before, torch.get_rng_state()), "reading it draws nothing either"
    assert again.metadata() == trained.metadata()
    assert torch.equal(again.extract(images).logits, logits)
    assert capsys.readouterr() == ("", "")


def test_a_judge_is_of_one_data_set_and_one_training(trained):
    keys = {Evaluator(toy(seed=seed), EvaluatorConfig(steps=steps))._key() for seed in (0, 1) for steps in (1, 2)}
    assert len(keys) == 4
    two = toy(40, labels=2)
    two.spec = DataSpec("toy", (*two.spec.fields, Label(5, name="hue")), 40)
    two.tensors["hue"] = torch.arange(40) % 5
    assert Evaluator(two, EvaluatorConfig()).name == "classifier_toy"
    hue = Evaluator(two, EvaluatorConfig(steps=1), "hue")
    assert (hue.name, hue.label.classes) == ("classifier_toy_hue_1_steps", 5)
    assert hue.extract(two.tensors["x"]).logits.shape == (40, 5)


def test_a_damaged_judge_is_trained_again_and_the_random_state_left_alone(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    dataset, config = toy(200, channels=2, side=20), EvaluatorConfig(steps=2)
    before = torch.get_rng_state()
    first = Evaluator(dataset, config)
    first.prepare()
    assert "training classifier_toy_2_steps to evaluate with" in capsys.readouterr().err
    assert torch.equal(before, torch.get_rng_state())
    (file,) = tmp_path.rglob("*.safetensors")
    whole = file.read_bytes()
    for damage in (b"", b"nonsense", whole[:-40]):
        file.write_bytes(damage)
        monkeypatch.setattr(evaluator, "_EVALUATORS", {})
        again = Evaluator(dataset, config)
        again.prepare(quiet=True)
        assert again.metadata() == first.metadata()
        assert file.read_bytes() == whole
    assert capsys.readouterr().err == ""
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "ganzoo"):
        Evaluator(dataset, config).prepare(quiet=True)
    assert "the classifier is not kept: cannot write" in caplog.text


def test_samples_are_rounded_as_pixels_are():
    assert to_uint8(torch.tensor([-3.0, 0.4, 0.5, 127.5, 254.6, 300.0])).tolist() == [0, 0, 1, 128, 255, 255]


def test_shifts_move_whole_images_by_whole_pixels():
    images = torch.zeros(200, 2, 28, 28, dtype=torch.uint8)
    images[:, 0, 10, 20], images[:, 1, 12, 20] = 200, 100
    moved = evaluator._shifted(images, torch.Generator().manual_seed(0))
    first, second = (moved[:, channel].flatten(1).argmax(1) for channel in (0, 1))
    assert torch.equal(second - first, torch.full((200,), 2 * 28)), "channels move together"
    assert set((first // 28 - 10).tolist()) == set((first % 28 - 20).tolist()) == {-2, -1, 0, 1, 2}


def test_the_inception_score_and_its_two_sides():
    sure = torch.eye(10).repeat(7, 1) * 1000
    assert scores(sure) == pytest.approx({"inception_score": 10, "quality": 1, "diversity": 10, "confident": 1})
    assert scores(sure[:1]) == pytest.approx({"inception_score": 1, "quality": 1, "diversity": 1, "confident": 1})
    blank = scores(torch.zeros(5, 10))
    assert blank == pytest.approx({"inception_score": 1, "quality": 0.1, "diversity": 10, "confident": 0})
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 2
    p = logits.double().softmax(1).numpy()
    kl = np.mean([sum(row * np.log(row / p.mean(0))) for row in p])
    got = scores(logits)
    assert got["inception_score"] == pytest.approx(math.exp(kl))
    assert got["inception_score"] == pytest.approx(got["quality"] * got["diversity"])
    assert got["confident"] == np.mean(p.max(1) > 0.9)


def test_classifier_score_of_real_digits_and_of_one(digits, trained):
    metric = ClassifierScore(ClassifierScore.Config(classifier=QUICK), digits)
    reference = metric.reference()
    assert reference["diversity"] > 9
    one = metric(digits.tensors["x"][:1].repeat(100, 1, 1, 1).float(), {})
    assert one["diversity"] < 2
    assert one["quality"] > 0.5
    assert metric.metadata()["accuracy_real"] == trained.accuracy


def test_label_accuracy_with_an_oracle():
    """A data set whose first pixel is the label, and that says so itself."""
    dataset = toy(60)
    dataset.tensors["x"][:, 0, 0, 0] = dataset.tensors["y"].to(torch.uint8)
    dataset.measure = lambda images: {"y": images[:, 0, 0, 0].long(), "size": images.float().mean((1, 2, 3))}
    metric = LabelAccuracy(LabelAccuracy.Config(samples=20), dataset)
    samples, labels = dataset.tensors["x"].float() + 0.3, dataset.tensors["y"]
    assert metric(samples, {"y": labels}) == {"y": 1}
    wrong = torch.where(torch.arange(60) < 15, (labels + 1) % 4, labels)
    assert metric(samples, {"y": wrong}) == {"y": 0.75}
    assert metric.reference() == {"y": 1}
    dataset.measure = lambda images: {"y": images[:, 0, 0, 0].long().masked_fill(images[:, 0, 0, 0] == 3, -1)}
    assert LabelAccuracy(LabelAccuracy.Config(), dataset).reference() == {"y": 0.75}
    for condition in ({}, {"size": labels}):
        with pytest.raises(UserError, match="this model takes none"):
            metric(samples, condition)
    dataset.measure = lambda images: {}
    with pytest.raises(UserError, match="does not measure its label 'y'"):
        LabelAccuracy(LabelAccuracy.Config(), dataset)(samples, {"y": labels})


def test_label_accuracy_by_the_classifier(digits, trained):
    metric = LabelAccuracy(LabelAccuracy.Config(classifier=QUICK), digits)
    rows = trained.held_out
    got = metric(digits.tensors["x"][rows].float(), {"y": digits.tensors["y"][rows]})
    assert got == {"classifier_digits_60_steps": trained.accuracy} == metric.reference()
    off = metric(digits.tensors["x"][rows].float(), {"y": (digits.tensors["y"][rows] + 1) % 10})
    assert off["classifier_digits_60_steps"] < 0.1
    assert LabelAccuracy.conditional


def test_a_perfect_sampler_of_a_mixture():
    metric = Modes(MetricConfig(samples=20_000), Gaussians(Gaussians.Config(size=10)))
    reference = metric.reference()
    assert (reference["covered"], reference["of"]) == (9, 9)
    assert reference["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert 0 <= reference["kl"] < 0.002
    assert reference == metric.reference()


def test_stacked_modes(digits, own_caches):
    images, labels = digits.tensors["x"], digits.tensors["y"]
    rows = torch.randint(len(images), (3000, 3), generator=torch.Generator().manual_seed(0))
    stacked, y = images[rows].flatten(1, 2), (labels[rows] * torch.tensor([100, 10, 1])).sum(1)
    dataset = TensorDataset(
        DataSpec("stacked", (Image(3, 8, 8, range=(0, 255)), Label(1000)), 3000), {"x": stacked, "y": y}
    )
    with pytest.raises(UserError, match="three digits as channels, not stacked"):
        StackedModes(StackedModes.Config(), dataset)
    dataset.digits = (images, labels)
    metric = StackedModes(StackedModes.Config(samples=3000, classifier=QUICK), dataset)
    assert StackedModes.Config().samples == 25_600
    reference = metric.reference()
    assert reference["covered"] > 0.97 * len(set(y.tolist())) * (1 - math.exp(-1))
    assert reference["of"] == 1000
    assert reference["kl"] < 0.4
    few = metric(stacked[:1].repeat(50, 1, 1, 1).float(), {})
    assert few["covered"] == 1
    assert few["kl"] == pytest.approx(math.log(1000), abs=0.1)
    one = torch.bincount(labels).double() / len(labels)
    read = metric.evaluator.extract(stacked[:1].transpose(0, 1)).logits.argmax(1)
    assert few["kl"] == pytest.approx(float(-one[read].log().sum())), "its mode's share in the data, by channel"


def test_stacked_modes_counts_what_each_channel_shows(monkeypatch):
    digits = (toy(100).tensors["x"], torch.arange(100) % 10)
    dataset = toy(50, channels=3, digits=digits)
    metric = StackedModes(StackedModes.Config(samples=10), dataset)

    def read(images):  # an oracle: the first pixel is the digit
        return Extracted(torch.empty(0), torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), 10).float())

    monkeypatch.setattr(metric.evaluator, "extract", read)
    samples = torch.zeros(4, 3, 8, 8)
    samples[:, :, 0, 0] = torch.tensor([[1, 2, 3], [1, 2, 3], [3, 2, 1], [0, 0, 0]])
    assert metric(samples, {})["covered"] == 3
    assert metric(samples, {})["kl"] == pytest.approx(math.log(1000) - 1.5 * math.log(2))


def test_nearest_beside_a_loop():
    rng = torch.Generator().manual_seed(0)
    points, others = torch.randn(30, 5, generator=rng), torch.randn(11_000, 5, generator=rng)
    distances, which = nearest(points, others, 3)
    for point, near, rows in zip(points, distances, which, strict=True):
        each = (others.double() - point.double()).norm(dim=1)
        expected, order = each.sort()
        assert torch.allclose(near, expected[:3])
        assert rows.tolist() == order[:3].tolist()
    assert nearest(points, others[:2], 3)[1].shape == (30, 2)


@pytest.mark.parametrize("labels", [4, 0])
def test_memorization(labels, digits, trained):
    dataset = digits
    if not labels:
        dataset = TensorDataset(DataSpec("unlabeled", digits.spec.fields[:1], len(digits)), {"x": digits.tensors["x"]})
    space = "classifier_digits_60_steps" if labels else "pixels"
    metric = Memorization(Memorization.Config(samples=500, classifier=QUICK), dataset)
    copies = metric(dataset.tensors["x"][:500].float(), {})
    assert copies[f"{space}/ratio"] == pytest.approx(0, abs=1e-4)
    assert copies[f"{space}/copies"] == 1
    reference = metric.reference()
    assert reference.keys() == copies.keys()
    assert 0.9 < reference[f"{space}/ratio"] < 1.15
    assert reference[f"{space}/copies"] < 0.04
    if not labels:
        noise = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
        assert metric(noise, {})["pixels/ratio"] > 1.5
        assert metric(noise, {})["pixels/copies"] == 0


def test_the_picture_of_memorization_shows_copies_first(tmp_path):
    import PIL.Image

    dataset = toy(100, channels=3, labels=0)
    metric = Memorization(Memorization.Config(), dataset)
    samples = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 255
    samples[7] = dataset.tensors["x"][42].float()
    (path,) = metric.draw(tmp_path, samples)
    sheet = np.asarray(PIL.Image.open(path))
    scale = sheet.shape[1] // (6 * 10 + 2)
    tiles = sheet[::scale, ::scale].transpose(2, 0, 1)
    copy = dataset.tensors["x"][42].numpy()
    assert (tiles[:, 2:10, 2:10] == copy).all(), "the sample"
    assert (tiles[:, 2:10, 12:20] == copy).all(), "and what it is a copy of"
    large = Memorization(Memorization.Config(), toy(100, side=40, labels=0))
    assert large._training.shape == (100, 32 * 32)


def test_every_metric_is_registered_with_settings_that_all_have():
    entries = load_registry().specs("metric")
    keys = {entry.spec.key for entry in entries if entry.distribution == "torch-ganzoo"}
    assert keys >= {"modes", "stacked_modes", "classifier", "label_accuracy", "fid", "kid", "prdc", "memorization"}
    for entry in entries:
        cls = entry.spec.load()
        assert issubclass(cls, Metric)
        assert cls.Config().samples >= 1


def test_points_have_no_judge():
    spec = DataSpec("p", (Points(2), Label(2)), 30)
    dataset = TensorDataset(spec, {"x": torch.zeros(30, 2), "y": torch.zeros(30, dtype=torch.int64)})
    with pytest.raises(UserError, match="images with labels, which p does not have"):
        Evaluator(dataset, QUICK)
