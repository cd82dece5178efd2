"""The Fréchet distance of texts, held against its equation and against texts that are worse."""

import numpy as np
import pytest
import torch
from scipy import linalg

from ganzoo import UserError
from ganzoo_plugins.datasets.grammar import GrammarConfig, Sampled
from ganzoo_plugins.metrics.text_distance import FrechetText, FrechetTextConfig


@pytest.fixture(scope="module")
def metric() -> FrechetText:
    dataset = Sampled(GrammarConfig(grammar="english", length=8, size=2000, held_out=600))
    return FrechetText(FrechetTextConfig(samples=600, steps=40, hidden_dim=12), dataset)


def test_features_are_the_mean_state_of_a_text(metric: FrechetText) -> None:
    tokens = metric.ended(metric.real(7))
    model = metric._model
    start = torch.full((len(tokens), 1), model.vocabulary)
    with torch.no_grad():
        states, _ = model.lstm(model.embedding(torch.cat([start, tokens[:, :-1]], 1)))
    for row, state, found in zip(tokens.tolist(), states, metric.features(tokens), strict=True):
        # Up to the 0 that ends it, which the model predicts as well.
        end = row.index(0) + 1 if 0 in row else len(row)
        assert found == pytest.approx(state[:end].mean(0), abs=1e-5)


def test_the_distance_is_the_equation(metric: FrechetText) -> None:
    samples = metric.ended(torch.randint(39, (600, 8), generator=torch.Generator().manual_seed(1)))
    ours, real = (metric.features(part).numpy() for part in (samples, metric._real))
    s, t = (np.cov(part, rowvar=False) for part in (ours, real))
    gap = ours.mean(0) - real.mean(0)
    expected = gap @ gap + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    assert metric(samples, {})["distance"] == pytest.approx(expected, rel=1e-3)


def test_worse_texts_are_farther(metric: FrechetText) -> None:
    real = metric.ended(metric.real(600))
    reference = metric.reference()["distance"]
    shuffled = real[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    assert metric(real[:4].repeat(150, 1), {})["distance"] > 5 * reference  # four good ones, again and again
    assert metric(shuffled, {})["distance"] > 5 * reference
    about = metric.metadata()
    assert about["compared"] == 600
    assert 1 < about["perplexity"] < 39  # better than any token


def test_fewer_than_two_texts_are_refused() -> None:
    dataset = Sampled(GrammarConfig(grammar="arithmetic", length=5, size=9, held_out=1))
    for refused in (FrechetTextConfig(), FrechetTextConfig(samples=1)):
        with pytest.raises(UserError, match="two texts at least"):
            FrechetText(refused, dataset)


def test_training_it_leaves_the_random_state_alone() -> None:
    dataset = Sampled(GrammarConfig(grammar="arithmetic", length=5, size=200, held_out=50))
    before = torch.get_rng_state()
    figures = [FrechetText(FrechetTextConfig(samples=50, steps=3, hidden_dim=4), dataset).reference() for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert figures[0] == figures[1]
