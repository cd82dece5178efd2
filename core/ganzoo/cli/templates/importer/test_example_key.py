"""Tests of the importer."""

import torch
from example_package.example_key import example_key
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("importer:example-name/example_key")


def test_weights_get_the_names_of_the_model() -> None:
    found = example_key({"generator": {"first.weight": torch.zeros(3, 5), "second.bias": torch.zeros(2)}})
    assert found.settings == {"latent_dim": 5}
    assert set(found.averaged["generator"]) == {"body.0.weight", "body.2.bias"}
