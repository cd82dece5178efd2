"""Tests of the regularizer."""

import torch
from example_package.example_key import ExampleKey, ExampleKeyConfig
from ganzoo.testing import check
from torch import Tensor


def score(x: Tensor) -> Tensor:
    """A discriminator: the sum of a sample's numbers, [N]."""
    return x.flatten(1).sum(1)


def test_it_conforms() -> None:
    check("regularizer:example-name/example_key")


def test_it_is_the_mean_square_of_scores() -> None:
    real, fake = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    assert ExampleKey(ExampleKeyConfig()).penalty(score, real, fake) == 5  # (9 + 1) / 2
    assert ExampleKey(ExampleKeyConfig(fake=True)).penalty(score, real, fake) == 7  # and (4 + 0) / 2
