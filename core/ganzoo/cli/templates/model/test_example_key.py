"""Tests of the model."""

import torch
from example_package.example_key import ExampleKeyConfig, ExampleKeyGenerator
from ganzoo import Image
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("model:example-name/example_key", ["model.width=16"])


def test_it_draws_images_of_any_size() -> None:
    generator = ExampleKeyGenerator(ExampleKeyConfig(latent_dim=4), Image(3, 5, 7))
    samples = generator(torch.randn(2, 4))
    assert samples.shape == (2, 3, 5, 7)
    assert samples.abs().max() <= 1
