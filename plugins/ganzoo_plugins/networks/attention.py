"""Self-attention between the places of a map."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from ganzoo import Image

__all__ = ["SelfAttention", "attends"]


class SelfAttention(nn.Module):
    """Every place of a map looks at all others: [N, C, H, W] to the same shape (SAGAN, arXiv:1805.08318, section 3).

    With 1x1 convolutions f and g to C/8 channels, h to C/2 and v back to C, none of them with a bias, place j gets

        y_j = x_j + gamma v(sum_i a_ji h(x_i)),    a_ji = softmax over i of <f(x_j), g(x_i)>

    where gamma is learned and starts at 0, so that the network first learns from neighbors. As in the authors' code,
    though not in the paper's formula, g and h are max-pooled by 2, which leaves a quarter of the places to look at, and
    h has C/2 channels. Maps are at least 2x2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query = nn.Conv2d(channels, narrow, 1, bias=False)
        self.key = nn.Conv2d(channels, narrow, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.output = nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)  # [N, C/8, HW]
        key = max_pool2d(self.key(x), 2).flatten(2)  # [N, C/8, HW/4]
        value = max_pool2d(self.value(x), 2).flatten(2)  # [N, C/2, HW/4]
        # Not divided by the root of the channels, as attention between words is: the authors' are not.
        weights = torch.softmax(query.mT @ key, dim=2)  # [N, HW, HW/4]
        found = (value @ weights.mT).unflatten(2, x.shape[2:])
        return x + self.gamma * self.output(found)


def attends(sample: Image, side: int, level: int) -> bool:
    """Return whether there is attention at the map that is ``level`` halvings smaller than the image.

    That is the one whose longer side is at most ``side`` and more than half of it; 0 is none.
    """
    longer = max(sample.height, sample.width) >> level
    return side // 2 < longer <= side
