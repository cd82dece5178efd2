"""The metrics beside small references that share no code with them."""

import logging
import math

import numpy as np
import pytest
import scipy.linalg
import torch

from ganzoo import DataSpec, Image, Label, Metric, MetricConfig, Points, TensorDataset, UserError, load_registry
from ganzoo_plugins.datasets.digits import Digits
from ganzoo_plugins.datasets.points import Gaussians
from ganzoo_plugins.metrics import evaluator, extractors
from ganzoo_plugins.metrics.classifier import ClassifierScore, scores
from ganzoo_plugins.metrics.distances import FID, KID, PRDC, InceptionScore
from ganzoo_plugins.metrics.evaluator import Classifier, Evaluator, EvaluatorConfig, Extracted, to_uint8
from ganzoo_plugins.metrics.label_accuracy import LabelAccuracy
from ganzoo_plugins.metrics.memorization import Memorization, nearest
from ganzoo_plugins.metrics.modes import Modes
from ganzoo_plugins.metrics.stacked_modes import StackedModes

QUICK = EvaluatorConfig(steps=60)


@pytest.fixture(autouse=True, scope="module")
def own_caches(tmp_path_factory):
    """Neither the user's classifiers nor InceptionV3's weights decide what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("hub")))
        yield


@pytest.fixture(scope="module")
def digits():
    return Digits(Digits.Config())


@pytest.fixture(scope="module")
def trained(own_caches, digits):
    quick = Evaluator(digits, QUICK)
    quick.prepare(quiet=True)
    return quick


def toy(n=64, channels=1, side=8, labels=4, seed=0, **attributes):
    """Noise with labels, as a data set; attributes are set on it."""
    rng = torch.Generator().manual_seed(seed)
    image = Image(channels, side, side, range=(0, 255))
    fields, tensors = (image,), {"x": torch.randint(256, (n, *image.shape), generator=rng).to(torch.uint8)}
    if labels:
        fields += (Label(labels),)
        tensors["y"] = torch.arange(n) % labels
    dataset = TensorDataset(DataSpec("toy", fields, n), tensors)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def features(values):
    return Extracted(torch.as_tensor(values, dtype=torch.float32), torch.zeros(len(values), 2))


def clouds(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(loc=0.7, scale=1.4, size=(n, d))


def bare(cls, **settings):
    """A metric whose extractor is never used."""
    config = cls.Config(extractor="classifier", **settings)
    return cls(config, toy())


# ---------------------------------------------------------------------------------------------------------------------
# Distances


def exactly(mean, deviations, n=200):
    """Points whose sample mean and covariance are these to the last bit or two."""
    points = np.random.default_rng(1).normal(size=(n, len(mean)))
    points -= points.mean(axis=0)
    points @= np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T
    return points * deviations + mean


def test_fid_is_the_closed_form_of_two_gaussians():
    one, other = exactly(np.zeros(3), [1, 2, 3]), exactly(np.array([1.0, 0, -2]), [2, 2, 0.5])
    expected = 1 + 4 + (1 - 2) ** 2 + 0 + (3 - 0.5) ** 2
    assert bare(FID).compare(features(one), features(other))[""] == pytest.approx(expected, rel=1e-4)


def test_fid_beside_scipys_square_root():
    one, other = clouds()
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    expected = np.sum((one.mean(0) - other.mean(0)) ** 2) + np.trace(first + second - 2 * root.real)
    assert bare(FID).compare(features(one), features(other))[""] == pytest.approx(expected, rel=1e-4)


def kernel(x, y):
    return (x @ y / len(x) + 1) ** 3


def test_kid_beside_the_unbiased_estimate():
    one, other = clouds(n=15)
    n = len(one)
    within = sum(kernel(p[i], p[j]) for p in (one, other) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    between = sum(kernel(x, y) for x in one for y in other) / n**2
    got = bare(KID).compare(features(one), features(other))[""]
    assert got == pytest.approx(within - 2 * between, rel=1e-4)
    blocks = bare(KID, block=14).compare(features(one), features(other))[""]
    assert blocks != pytest.approx(got, rel=1e-3)
    assert blocks == pytest.approx(got, abs=0.5 * abs(got))


def reference_prdc(fakes, reals, k):
    def radius(points):
        return [sorted(np.linalg.norm(points - point, axis=1))[k] for point in points]

    def within(points, balls, radii):
        return np.array(
            [[np.linalg.norm(p - c) <= r for c, r in zip(balls, radii, strict=True)] for p in points]
        )  # [points, balls]

    in_real, in_fake = within(fakes, reals, radius(reals)), within(reals, fakes, radius(fakes))
    return {
        "precision": in_real.any(axis=1).mean(),
        "recall": in_fake.any(axis=1).mean(),
        "density": in_real.sum() / (k * len(fakes)),
        "coverage": in_real.any(axis=0).mean(),
    }


@pytest.mark.parametrize("k", [1, 5])
def test_prdc_beside_four_loops(k):
    fakes, reals = clouds()
    got = bare(PRDC, neighbors=k).compare(features(fakes), features(reals))
    assert got == pytest.approx(reference_prdc(fakes.astype(np.float32), reals.astype(np.float32), k))
    assert k > 1 or all(0 < value < 1 for value in got.values())


def test_prdc_tells_dropped_modes_from_bad_samples():
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0], [100, 0], [0, 100], [100, 100]])
    reals = np.concatenate([center + rng.normal(size=(50, 2)) for center in centers])
    one_mode = centers[0] + rng.normal(size=(200, 2)) * 0.5
    got = bare(PRDC).compare(features(one_mode), features(reals))
    assert got["precision"] == 1
    assert got["density"] > 0.9
    assert got["recall"] <= 0.25
    assert got["coverage"] <= 0.25
    far = bare(PRDC).compare(features(reals + 1000), features(reals))
    assert far == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    same = bare(PRDC).compare(features(reals), features(reals))
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)


def test_the_figures_are_those_of_torch_fidelitys_front_door():
    """One oracle for the plumbing: which part is the reference, double or float, splits and seeds."""
    import torch_fidelity

    class Pixels(torch_fidelity.FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return ("pixels",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "pixels"

        def forward(self, images):
            return (images.flatten(1)[:, :6].float() / 64,)

    class Images(torch.utils.data.Dataset):
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index]

    torch_fidelity.register_feature_extractor("ganzoo-test-pixels", Pixels)
    drawn, real = toy(60, seed=1).tensors["x"], toy(60, seed=2).tensors["x"]
    expected = torch_fidelity.calculate_metrics(
        input1=Images(drawn), input2=Images(real), feature_extractor="ganzoo-test-pixels", save_cpu_ram=True,
        fid=True, kid=True, isc=True, prc=True, kid_subset_size=60, kid_subsets=1, prc_neighborhood=5,
        cuda=False, cache=False, verbose=False,
    )  # fmt: skip
    one, other = (Extracted(values, values) for (values,) in (Pixels("p", ["pixels"])(part) for part in (drawn, real)))
    assert bare(FID).compare(one, other)[""] == pytest.approx(expected["frechet_inception_distance"], rel=1e-3)
    kid = bare(KID).compare(one, other)[""]
    assert kid == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3)
    got = bare(PRDC).compare(one, other)
    assert got["precision"] == pytest.approx(expected["precision"])
    assert got["recall"] == pytest.approx(expected["recall"])
    score = bare(InceptionScore).compare(one, other)[""]
    assert score == pytest.approx(expected["inception_score_mean"], rel=1e-6)


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


def test_too_few_or_the_wrong_data_are_refused():
    with pytest.raises(UserError, match="at least 2 samples"):
        bare(FID, samples=1)
    with pytest.raises(UserError, match="at least 11 samples and 22 images"):
        bare(PRDC, samples=10, neighbors=10)
    points = Gaussians(Gaussians.Config(size=100))
    for cls in (FID, KID, PRDC, InceptionScore, Memorization, LabelAccuracy):
        with pytest.raises(UserError, match="gaussians has points"):
            cls(cls.Config(), points)
    with pytest.raises(UserError, match="images with labels"):
        ClassifierScore(ClassifierScore.Config(), points)
    with pytest.raises(UserError, match="toy has no labels to train a classifier with, and InceptionV3 is not here"):
        FID(FID.Config(), toy(labels=0))
    with pytest.raises(UserError, match="no labels that samples could be drawn for"):
        LabelAccuracy(LabelAccuracy.Config(), toy(labels=0))
    with pytest.raises(UserError, match="at least 8 x 8"):
        Evaluator(toy(side=7), QUICK)


# ---------------------------------------------------------------------------------------------------------------------
# InceptionV3


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory):
    """Random weights in the file format of the real ones."""
    import torch_fidelity
    from torch_fidelity import feature_extractor_inceptionv3 as home

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(home, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(home.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        net = torch_fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(net.state_dict(), path)
    return path


def test_inception_judges_grey_images_as_rgb(inception_weights):
    dataset = toy(24, labels=0)
    metric = FID(FID.Config(samples=2, weights=inception_weights), dataset)
    assert metric.extractor.name == "inception_v3"
    before = torch.get_rng_state()
    metric.prepare()
    assert torch.equal(before, torch.get_rng_state())
    grey = dataset.tensors["x"][:1]
    made, same = metric.extractor.extract(grey), metric.extractor.extract(grey.repeat(1, 3, 1, 1))
    assert made.features.shape == (1, 2048)
    assert made.logits.shape == (1, 1008)
    assert torch.equal(made.features, same.features)
    unrounded = metric.extractor.features(grey.float())  # our own way through torch-fidelity's layers
    assert torch.allclose(unrounded, made.features.double(), rtol=1e-3, atol=1e-5 * float(unrounded.abs().max()))
    labeled = FID(FID.Config(samples=4, weights=inception_weights, extractor="classifier"), toy(24))
    assert labeled.extractor.name == "classifier_toy"


def test_inception_says_what_it_lacks(tmp_path, monkeypatch):
    from urllib.error import URLError

    from torch_fidelity import feature_extractor_inceptionv3 as home

    with pytest.raises(UserError, match="there is no file"):
        FID(FID.Config(weights=tmp_path / "none"), toy())
    with pytest.raises(UserError, match="not 2 channels"):
        FID(FID.Config(extractor="inception"), toy(channels=2))
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"cannot be read from .*broken\.pth"):
        FID(FID.Config(weights=tmp_path / "broken.pth"), toy()).prepare()

    def offline(*args, **kwargs):
        raise URLError("no route")

    monkeypatch.setattr(home, "load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"cannot be downloaded: .*no route.*metric\.NAME\.weights=FILE"):
        FID(FID.Config(extractor="inception"), toy()).prepare()


# ---------------------------------------------------------------------------------------------------------------------
# The judge


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


# ---------------------------------------------------------------------------------------------------------------------
# What the classifier says


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


# ---------------------------------------------------------------------------------------------------------------------
# Modes and copies


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
