"""A small network to export, and what is in a file."""

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from ganzoo import Generator as GeneratorNetwork
from ganzoo import Image, Label, Latent, Network, Signature


class Small(GeneratorNetwork):
    """Convolutions up, to the whole of the range and beyond it."""

    def __init__(self, low: float = -1.0, high: float = 1.0, width: int = 8, gain: float = 3) -> None:
        super().__init__(Signature((Latent((6,)), Label(3)), Image(3, 8, 12, (low, high))))
        self.embed, self.fc = nn.Embedding(3, 6), nn.Linear(6, width * 6)
        self.body = nn.Sequential(
            nn.Unflatten(1, (width, 2, 3)),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1),
        )
        self.low, self.high, self.gain = low, high, gain

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        images: Tensor = self.body(self.fc(z + self.embed(y))) * self.gain
        return (images + 0.5) * (self.high - self.low) + self.low


def seeded(make: Callable[[], Network]) -> Network:
    torch.manual_seed(0)
    return make().eval()


def kinds_of(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]
