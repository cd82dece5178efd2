"""Data that tests give as objects, and a training on it that takes no time."""

from pathlib import Path
from typing import Any

import PIL.Image
import torch

import ganzoo
from ganzoo import Batch, Dataset, DataSpec, Points, Run

TINY = {"batch_size": 8, "log_every": 2, "model": {"hidden": [8]}}
BYTES = torch.arange(20 * 36).reshape(20, 1, 6, 6).to(torch.uint8)
POINTS = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))


def train(data: Any = POINTS, **asked: Any) -> Run:
    return ganzoo.train(**{"plugin": "gan_fc", "data": data, "steps": 2, "config": TINY, "quiet": True, **asked})


def pictures(folder: str = "images") -> Path:
    Path(folder).mkdir()
    for index in range(4):
        PIL.Image.new("RGB", (8, 8), (index * 50, 0, 0)).save(Path(folder, f"{index}.png"))
    return Path(folder)


class Mine(Dataset):
    """A data set that no plugin offers."""

    metrics = ("modes",)
    centers, sigma = torch.zeros(1, 2), 1.0
    spec = DataSpec("mine", (Points(2),), 50)

    def batch(self, indices: torch.Tensor, rng: torch.Generator) -> Batch:
        return {"x": POINTS[indices]}
