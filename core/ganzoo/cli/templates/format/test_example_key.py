"""Tests of the format."""

import json
from pathlib import Path

import pytest
import torch
from example_package.example_key import ExampleKey
from ganzoo import Generator, Latent, Points, Signature, UserError
from ganzoo.testing import check
from safetensors import safe_open
from torch import Tensor, nn


class Line(Generator):
    """A generator of one layer."""

    def __init__(self) -> None:
        super().__init__(Signature((Latent((3,)),), Points(2)))
        self.layer = nn.Linear(3, 2)

    def forward(self, z: Tensor) -> Tensor:
        points: Tensor = self.layer(z)
        return points


def test_it_conforms() -> None:
    check("format:example-name/example_key")


def test_weights_and_metadata_are_read_back(tmp_path: Path) -> None:
    network, path = Line(), tmp_path / "line.example_key"
    document = ExampleKey().export(network, path, {"license": "CC0"})
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor("layer.weight"), network.layer.weight)
        assert json.loads(file.metadata()["ganzoo"]) == json.loads(json.dumps(document))
    assert document["license"] == "CC0"


def test_other_precisions_are_refused() -> None:
    with pytest.raises(UserError, match="float32"):
        ExampleKey().check(Line(), precision="int8")
