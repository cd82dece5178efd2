"""Distances between images beside small references that share no code with them, and InceptionV3."""

import numpy as np
import pytest
import scipy.linalg
import torch
from noisy import QUICK, toy

from ganzoo import UserError
from ganzoo_plugins.datasets.points import Gaussians
from ganzoo_plugins.metrics.classifier import ClassifierScore
from ganzoo_plugins.metrics.distances import FID, KID, PRDC, InceptionScore
from ganzoo_plugins.metrics.evaluator import Evaluator, Extracted
from ganzoo_plugins.metrics.label_accuracy import LabelAccuracy
from ganzoo_plugins.metrics.memorization import Memorization

pytestmark = pytest.mark.usefixtures("own_caches")


def features(values):
    return Extracted(torch.as_tensor(values, dtype=torch.float32), torch.zeros(len(values), 2))


def clouds(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(loc=0.7, scale=1.4, size=(n, d))


def bare(cls, **settings):
    """A metric whose extractor is never used."""
    config = cls.Config(extractor="classifier", **settings)
    return cls(config, toy())


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
