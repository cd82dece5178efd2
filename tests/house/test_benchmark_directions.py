"""The score of fitted directions, on a generator that draws shapes from factors we put into it."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch import Tensor

from ganzoo import Generator, Image, Latent, Signature
from ganzoo.inference.sampling import TorchSampler
from ganzoo_plugins.datasets.shapes import draw

SCRIPT = ROOT / "benchmarks" / "directions.py"


class Ideal(Generator):
    """Draws shapes whose factors are squashed linear functions of the latent; mixed, these are not orthogonal."""

    def __init__(self, *, mixed: bool) -> None:
        super().__init__(Signature((Latent((16,)),), Image(3, 32, 32)))
        self.factors = torch.eye(16) + mixed * 0.5 * torch.eye(16).roll(1, dims=1)

    def forward(self, z: Tensor) -> Tensor:
        values = z @ self.factors
        size, left, top = (0.20 + 0.12 * values[:, 0].sigmoid(), *(0.36 + 0.28 * values[:, 1:3].sigmoid().T))
        hue = torch.atan2(values[:, 4], values[:, 3]) / (2 * torch.pi) % 1
        factors = {"size": size, "left": left, "top": top, "hue_turn": hue}
        factors["rotation"] = torch.atan2(values[:, 7], values[:, 6]) / (2 * torch.pi) % 1 / 5
        shape = (torch.special.ndtr(values[:, 5]) * 5).long().clamp(0, 4)
        return draw({**factors, "shape": shape}, 32).float() / 127.5 - 1


@pytest.mark.parametrize(
    ("mixed", "arguments", "passes"), [(False, [], True), (True, [], True), (True, ["--plain"], False)]
)
def test_directions_are_found_and_told_apart(
    mixed: bool, arguments: list[str], passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Ideal(mixed=mixed)
    sampler = TorchSampler(network, {"signature": network.signature.to_json()})
    monkeypatch.setattr("ganzoo.load", lambda _: sampler)
    out = tmp_path / "d.json"
    monkeypatch.setattr(
        sys, "argv", [str(SCRIPT), "x", "--samples", "700", "--latents", "40", "--out", str(out), *arguments]
    )
    runpy.run_path(str(SCRIPT), run_name="__main__")
    document = json.loads(out.read_text())
    size = document["directions"]["size"]
    assert size["passes"] == passes, size
    assert size["monotone"] > 0.9
    assert size["correlation"] > 0.9
    assert (size["others"]["left"] < 0.25) == passes
    assert document["lost"] == 0
