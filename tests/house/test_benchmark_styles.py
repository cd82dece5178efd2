"""The score of styles, on a generator whose factors are linear in W and not in Z."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import ROOT
from torch import Tensor

from ganzoo import Image, Latent, StyleGenerator, TrainedModel
from ganzoo.inference.sampling import TorchSampler
from ganzoo_plugins.datasets.shapes import draw
from ganzoo_plugins.metrics.evaluator import Extracted


class Swirl(StyleGenerator):
    """Draws shapes from the first seven numbers of w; z has them twisted around each other, more the larger it is."""

    def __init__(self) -> None:
        super().__init__((Latent((8,)),), 2, 8, Image(3, 16, 16))

    def mapped(self, z: Tensor) -> Tensor:  # type: ignore[override]
        one, other = z[:, :4], z[:, 4:]
        angle = 0.8 * z.norm(dim=1, keepdim=True)
        w = torch.cat([one * angle.cos() - other * angle.sin(), one * angle.sin() + other * angle.cos()], dim=1)
        return w.unsqueeze(1).expand(-1, 2, -1)

    def drawn(self, styles: Tensor) -> Tensor:
        w = styles.mean(dim=1)
        size, left, top = (0.20 + 0.12 * w[:, 0].sigmoid(), *(0.36 + 0.28 * w[:, 1:3].sigmoid().T))
        hue = torch.atan2(w[:, 4], w[:, 3]) / (2 * torch.pi) % 1
        shape = (torch.special.ndtr(w[:, 5]) * 5).long().clamp(0, 4)
        factors = {"size": size, "left": left, "top": top, "hue_turn": hue, "rotation": w[:, 6].sigmoid() / 5}
        return draw({**factors, "shape": shape}, 16).float() / 127.5 - 1


class Colors:
    """Features that are the mean color, in the place of an extractor."""

    name = "colors"

    def prepare(self, *, quiet: bool = False) -> None: ...

    def features(self, images: Tensor) -> Tensor:
        return images.double().mean((2, 3))

    def extract(self, images: Tensor) -> Extracted:
        return Extracted(self.features(images).float(), torch.zeros(len(images), 2))

    def metadata(self) -> dict[str, str]:
        return {"evaluator": self.name}


@pytest.fixture
def styles(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import styles

    for metric in ("distances", "path_length"):
        monkeypatch.setattr(f"ganzoo_plugins.metrics.{metric}.choose", lambda *_: Colors())
    monkeypatch.setattr(styles, "STEPS", 4)
    network = Swirl()
    metadata = {"signature": network.signature.to_json(), "latent_mean": {"w": [0.0] * 8}}
    monkeypatch.setattr("ganzoo.load", lambda name: TrainedModel(TorchSampler(network, metadata), name))
    return styles


def test_a_direction_in_w_moves_less_else(styles: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["x", "--psi", "1", "0.3", "--samples", "200", "--labeled", "500", "--latents", "30", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["styles.py", *arguments, "--out", str(tmp_path)])
    styles.main()
    found = json.loads((tmp_path / "styles.json").read_text())
    assert (tmp_path / "truncation.png").is_file()
    low, high = found["truncation"]["rows"]
    assert (low["truncation"], high["truncation"]) == (0.3, 1.0)
    assert low["recall"] < high["recall"]
    assert found["truncation"]["recall rises"]
    assert found["path length"]["colors/w"] < found["path length"]["colors/z"]
    for name, others in found["directions"]["others"].items():
        assert others["w"] < others["z"], name
        assert others["less in w"] == 1
    size = found["directions"]["rows"][0]
    assert size["w"]["correlation"] > 0.9
    assert size["w"]["mean"] < 0.25
    assert set(size["w"]["others"]) == {"left", "top", "hue", "rotation", "shape"}


def test_figures_are_read_where_the_factor_is_moved_equally(styles: ModuleType) -> None:
    steps = [{"deviations": at, "moved": at / 2, "lost": 0.0, "hue": at**2} for at in (0.0, 1.0, 2.0)]
    assert styles.at(steps, 0.75) == {"deviations": 1.5, "lost": 0.0, "others": {"hue": 2.5}, "mean": 2.5}
    assert styles.at(steps, 2.0)["others"] == styles.at(steps, 0.0)["others"] == {}
