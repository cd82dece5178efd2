"""Detectors: networks that score images of any size, higher where they look generated.

Images are RGB, float32 [N, 3, H, W] in 0..255, at least 16 x 16, at the size that they have: resizing would remove the
traces that upsampling leaves. Scores are logits, [N, 1].
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganzoo import Image, Network, Scores, Signature

__all__ = ["Residual", "Spectrum"]


def _signature(side: int) -> Signature:
    return Signature((Image(3, side, side, (0.0, 255.0), "x", multiple=1),), Scores((1,)))


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, as in ResNet-18 (arXiv:1512.03385)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Residual(Network):
    """A small residual network in the manner of the ResNet-50 of arXiv:1912.11035.

    The first layers keep the full resolution, since the traces are in the finest details, and the mean over all places
    makes it work at any size. ``side`` is that of the images it is trained on.
    """

    def __init__(self, side: int, width: int = 16) -> None:
        super().__init__(_signature(side))
        widths = [width, width, 2 * width, 4 * width]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(
            *(_Block(before, after, 1 if index == 0 else 2) for index, (before, after) in enumerate(pairwise(widths)))
        )
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x / 127.5 - 1)).mean(dim=(2, 3)))


class Spectrum(Network):
    """The baseline: logistic regression on the power spectrum over the radius and on differences of neighbors.

    The spectrum (arXiv:1911.00686) is that of the mean of the colors under a Hann window, at a fixed grid of
    frequencies, so that images of all sizes have the same features: the mean power at each of 24 radii from 0, of which
    16 is half a cycle a pixel. The differences (NPR, arXiv:2312.10461) are x - up(down(x)) with the first pixel of
    every 2 x 2: of each of the other three pixels, the mean of the square and of the absolute value, and the share of
    zeros. All but the shares are logarithms.
    """

    RADII = 16
    FEATURES = 24 + 9

    down: Tensor
    across: Tensor
    members: Tensor
    center: Tensor
    spread: Tensor

    def __init__(self, side: int) -> None:
        super().__init__(_signature(side))
        down, across = torch.arange(-self.RADII, self.RADII + 1.0), torch.arange(self.RADII + 1.0)
        self.register_buffer("down", down * math.pi / self.RADII)
        self.register_buffer("across", across * math.pi / self.RADII)
        radius = (down[:, None].square() + across.square()).sqrt().round().flatten()
        member = (radius == torch.arange(24.0)[:, None]).float()
        self.register_buffer("members", member / member.sum(dim=1, keepdim=True))
        self.register_buffer("center", torch.zeros(self.FEATURES))
        self.register_buffer("spread", torch.ones(self.FEATURES))
        self.head = nn.Linear(self.FEATURES, 1)

    def features(self, x: Tensor) -> Tensor:
        """Return the features of images, [N, 33]."""
        return torch.cat([self._spectrum(x.mean(dim=1) / 255), self._differences(x)], dim=1)

    def _spectrum(self, gray: Tensor) -> Tensor:
        rows, columns = _places(gray[0, :, 0]), _places(gray[0, 0])
        # Without a window the edges of the image, which do not meet, would fill all frequencies.
        window = torch.outer(_hann(rows), _hann(columns))
        share = window / window.sum()
        image = (gray - (gray * share).sum(dim=(1, 2), keepdim=True)) * window
        down, across = torch.outer(self.down, rows), torch.outer(columns, self.across)
        cosines, sines = image @ across.cos(), image @ across.sin()
        real = down.cos() @ cosines - down.sin() @ sines
        imaginary = down.sin() @ cosines + down.cos() @ sines
        power = (real.square() + imaginary.square()).flatten(1) / window.square().sum()
        return (power @ self.members.T + 1e-6).log()

    def _differences(self, x: Tensor) -> Tensor:
        kept = x[:, :, :-1:2, :-1:2]
        found = []
        for other in (x[:, :, :-1:2, 1::2], x[:, :, 1::2, :-1:2], x[:, :, 1::2, 1::2]):
            size = (other - kept).abs()
            zero = (size < 0.5).to(x.dtype)
            found += [(size.square().mean(dim=(1, 2, 3)) + 1e-3).log(), (size.mean(dim=(1, 2, 3)) + 1e-3).log()]
            found += [zero.mean(dim=(1, 2, 3))]
        return torch.stack(found, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.features(x) - self.center) / self.spread)


def _places(line: Tensor) -> Tensor:
    """Return 0, 1 ... for the values of a line: a file with ``arange`` has sizes that nobody knows beforehand."""
    return (line * 0 + 1).cumsum(0) - 1


def _hann(places: Tensor) -> Tensor:
    return (math.pi * (places + 0.5) / (places[-1:] + 1)).sin().square()
