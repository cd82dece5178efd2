"""Tests of the trained model."""

import numpy as np
from ganzoo import load
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("pretrained:example-name/example_key")


def test_it_draws_the_same_samples_for_a_seed() -> None:
    model = load("zoo:example_key")
    samples = model.sample(100, seed=1)
    assert samples.shape[0] == 100
    assert np.isfinite(samples).all()
    assert np.array_equal(samples, model.sample(100, seed=1))
