"""What both networks of a progressive GAN are made of."""

import torch
from torch import nn


class Levels(nn.Module):
    """A convolution for each level, [N, W, S, S], and a 1x1 one between its features and its part of the image.

    ``ends`` are the channels that the 1x1 ones take and return. ``alpha`` is the last level's share, from 0 to 1: as a
    buffer it is saved, averaged and exported.
    """

    def __init__(self, width: int, ends: tuple[int, int]) -> None:
        super().__init__()
        self.width, self.ends, self.pairs = width, ends, nn.ModuleList()
        self.register_buffer("alpha", torch.ones(()))
        self.grow()

    def grow(self) -> list[nn.Parameter]:
        """Add a level, and return its weights."""
        self.pairs.append(nn.ModuleList([nn.Conv2d(self.width, self.width, 3, padding=1), nn.Conv2d(*self.ends, 1)]))
        return list(self.pairs[-1].parameters())
