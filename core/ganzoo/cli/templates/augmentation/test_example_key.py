"""Tests of the augmentation."""

import torch
from example_package.example_key import ExampleKey, ExampleKeyConfig
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("augmentation:example-name/example_key")


def test_noise_is_of_the_strength_that_is_set() -> None:
    torch.manual_seed(0)
    changed = ExampleKey(ExampleKeyConfig(scale=0.5), (-1.0, 1.0))(torch.zeros(200, 1, 16, 16))
    strengths = changed.flatten(1).std(dim=1)
    assert 0.85 < strengths.max() < 1.2  # half of the range, which is 2
    assert strengths.min() < 0.1


def test_alpha_stays_as_it_is() -> None:
    x = torch.ones(3, 4, 8, 8)
    changed = ExampleKey(ExampleKeyConfig(), (0.0, 1.0))(x)
    assert torch.equal(changed[:, 3], x[:, 3])
    assert not torch.equal(changed[:, :3], x[:, :3])
