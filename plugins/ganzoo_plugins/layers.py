"""Layers that several of the bundled GANs share."""

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from ganzoo import Image
from ganzoo.signature import Field

__all__ = ["LayerNorm2d", "output_activation"]


class LayerNorm2d(nn.Module):
    """Layer normalisation over a whole feature map, C, H and W, with a weight and a bias for each element.

    ``nn.LayerNorm`` would answer in NCHW layout and make every convolution around it convert; this one keeps
    channels-last maps as they are, which is a quarter of the time of a training step. (Layer Normalization,
    arXiv:1607.06450.)
    """

    def __init__(self, channels: int, height: int, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        # Stored as H, W, C: the order that channels-last maps have in memory.
        self.weight = nn.Parameter(torch.ones(height, width, channels))
        self.bias = nn.Parameter(torch.zeros(height, width, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, H, W], keeping its memory layout."""
        rows = x.permute(0, 2, 3, 1)
        return layer_norm(rows, rows.shape[1:], self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


def output_activation(sample: Field) -> nn.Module:
    """Return what maps a generator's last layer into the sample's range: sigmoid, tanh, or nothing for points."""
    if not isinstance(sample, Image):
        return nn.Identity()
    return {(0.0, 1.0): nn.Sigmoid(), (-1.0, 1.0): nn.Tanh()}[sample.range]
