"""Tests of the metric."""

import torch
from example_package.example_key import energy_distance
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("metric:example-name/example_key")


def test_equal_distributions_have_no_distance() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 1000, 3, generator=rng)
    assert abs(energy_distance(x, y)) < 0.02


def test_far_clouds_have_twice_their_distance() -> None:
    assert abs(energy_distance(torch.zeros(5, 2), torch.full((4, 2), 3.0)) - 2 * 18**0.5) < 1e-5
