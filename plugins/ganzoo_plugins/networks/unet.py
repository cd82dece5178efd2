"""The U-shaped network."""

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["UNet"]


class UNet(nn.Module):
    """pix2pix's generator without its tanh (arXiv:1611.07004, appendix 6.1).

    4x4 convolutions of stride 2 down, ``depth`` of them, and as many transposed ones up, each of which is given the map
    of its size from the way down beside its own, unless ``skips`` is off: DiscoGAN's encoder and decoder. Batch norm
    but at the first and the innermost; leaky ReLU down, ReLU up; dropout after the three innermost on the way up, in
    training alone: the paper leaves it on for noise, but a network that is exported draws none. With a ``latent`` of so
    many numbers, they stand beside the innermost map, at every place of it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        depth: int,
        *,
        dropout: float = 0.0,
        skips: bool = True,
        latent: int = 0,
    ) -> None:
        super().__init__()
        self.skips = skips
        widths = [width * min(2**index, 8) for index in range(depth)]
        self.down = nn.ModuleList([nn.Conv2d(inputs, widths[0], 4, stride=2, padding=1)])
        for index, (before, after) in enumerate(pairwise(widths), start=2):
            norm = [nn.BatchNorm2d(after)] if index < depth else []
            self.down.append(nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(before, after, 4, stride=2, padding=1), *norm))
        self.up = nn.ModuleList()
        for index, (after, before) in enumerate(reversed(list(pairwise(widths)))):
            beside = latent if index == 0 else before * skips
            self.up.append(
                nn.Sequential(
                    nn.ReLU(),
                    nn.ConvTranspose2d(before + beside, after, 4, stride=2, padding=1),
                    nn.BatchNorm2d(after),
                    *([nn.Dropout(dropout)] if dropout and index < 3 else []),
                )
            )
        beside = widths[0] * skips if depth > 1 else latent
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(widths[0] + beside, outputs, 4, stride=2, padding=1))

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Map [N, C, H, W], and with a latent [N, L], to [N, C', H, W]."""
        maps = []
        for layer in self.down:
            x = layer(x)
            maps.append(x)
        maps.pop()
        if z is not None:
            # Spread by adding: expanded, the exported graph computes a size, and nobody can tell it without a run.
            x = torch.cat([x, z[:, :, None, None] + torch.zeros_like(x[:, :1])], dim=1)
        for layer in self.up:
            x = layer(x)
            before = maps.pop()
            if self.skips:
                x = torch.cat([x, before], dim=1)
        return self.last(x)
