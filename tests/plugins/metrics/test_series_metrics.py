"""The metrics of series beside references that share no code with them."""

import numpy as np
import pytest
import scipy.stats
import torch

from ganzoo import DataSpec, Label, MetricConfig, Points, Sequence, Signature, TensorDataset, UserError
from ganzoo_plugins.datasets.series import Waves, WavesConfig
from ganzoo_plugins.metrics.series import TSTR, Autocorrelation, Marginal, autocorrelations

RANDOM = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def waves():
    return Waves(WavesConfig(length=32, size=1200, classes=2, frequency=(1, 8)))


def test_marginal_is_the_wasserstein_distance_in_standard_deviations():
    data = torch.randn(40, 2, 9, generator=RANDOM) * torch.tensor([[1.0], [3.0]])
    metric = Marginal(MetricConfig(), TensorDataset(DataSpec("made", (Sequence(2, 9),), 40), {"x": data}))
    drawn = torch.rand(20, 2, 9, generator=RANDOM)
    real = data[metric._halves[0]].double().numpy()
    expected = [
        scipy.stats.wasserstein_distance(drawn[:, i].flatten().double(), real[:, i].ravel()) / real[:, i].std()
        for i in range(2)
    ]
    found = metric(drawn, {})
    assert found["mean"] == pytest.approx(np.mean(expected))
    assert found["worst"] == pytest.approx(max(expected))
    shifted = metric.compare(torch.from_numpy(real) + real.std((0, 2))[None, :, None], torch.from_numpy(real))
    torch.testing.assert_close(shifted, torch.ones(2, dtype=torch.float64))


def test_autocorrelations_are_those_of_the_definition():
    series = torch.randn(7, 2, 6, generator=RANDOM).cumsum(2).double()
    found = autocorrelations(series, 99)
    assert found.shape == (2, 5)
    for channel in range(2):
        rows = series[:, channel].numpy()
        mean, variance = rows.mean(), rows.var()
        for lag in range(1, 6):
            products = [(row[t] - mean) * (row[t + lag] - mean) for row in rows for t in range(6 - lag)]
            assert found[channel, lag - 1].item() == pytest.approx(np.mean(products) / variance)


def test_autocorrelation_sees_the_order_and_marginal_does_not(waves):
    real = waves.batch(torch.arange(400), RANDOM)["x"]
    mixed = real[:, :, torch.randperm(32, generator=RANDOM)]
    autocorrelation, marginal = (cls(cls.Config(), waves) for cls in (Autocorrelation, Marginal))
    assert autocorrelation(mixed, {})["mean"] > 5 * autocorrelation(real, {})["mean"]
    assert marginal(mixed, {})["mean"] == pytest.approx(marginal(real, {})["mean"])
    assert autocorrelation.reference()["mean"] < 0.05


def test_what_is_learned_from_real_series_is_worth_more_than_from_noise(waves):
    metric = TSTR(TSTR.Config(steps=150), waves)
    batch = waves.batch(metric._halves[0], RANDOM)
    noise = torch.randn(600, 1, 32, generator=RANDOM).clamp(-1, 1)
    assert metric(batch["x"], {}) == metric.reference()
    assert metric(batch["x"], {})["error"] < 0.3 < 0.9 < metric(noise, {})["error"]
    right = metric(batch["x"], {"y": batch["y"]})
    assert right == metric.reference()
    assert right["accuracy"] > 0.95
    wrong = metric(batch["x"], {"y": 1 - batch["y"]})
    assert wrong["accuracy"] < 0.05


def test_other_data_and_other_models_are_refused(waves):
    points = TensorDataset(DataSpec("dots", (Points(2),), 4), {"x": torch.zeros(4, 2)})
    with pytest.raises(UserError, match="compares series, and dots has points"):
        Marginal(MetricConfig(), points)
    one = TensorDataset(
        DataSpec("one", (Sequence(1, 4), Label(2)), 1), {"x": torch.zeros(1, 1, 4), "y": torch.zeros(1).long()}
    )
    with pytest.raises(UserError, match="needs two series"):
        TSTR(TSTR.Config(), one)
    with pytest.raises(UserError, match="draws sequences of 1 channel and 16 steps"):
        Marginal(MetricConfig(), waves).check(Signature((), Sequence(1, 16)))
