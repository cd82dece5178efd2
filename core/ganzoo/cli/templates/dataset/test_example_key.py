"""Tests of the data set."""

import torch
from example_package.example_key import ExampleKey, ExampleKeyConfig
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("dataset:example-name/example_key")


def test_points_lie_on_their_moon() -> None:
    data = ExampleKey(ExampleKeyConfig(size=500, noise=0))
    batch = data.batch(torch.arange(500), torch.Generator())
    upper = batch["x"][batch["y"] == 0]
    assert torch.allclose(upper.norm(dim=1), torch.ones(len(upper)))
    assert (upper[:, 1] >= -1e-6).all()
    assert 150 < len(upper) < 350
