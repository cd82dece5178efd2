"""The exponential moving average (EMA) of a network's weights, which samples are drawn with."""

import copy

import torch
from torch import Tensor, nn

from ganzoo.training.sharding import own

__all__ = ["Average", "average_of"]


class Average:
    """Keeps the exponential moving average of a network's weights up to date, in a second network of the same kind.

    Buffers are copied: those such as batch norm's running statistics are moving averages already, and some are
    integers.
    """

    def __init__(self, average: nn.Module, network: nn.Module) -> None:
        self.averages: list[Tensor] = [own(each) for each in average.parameters()]
        self.parameters: list[Tensor] = [own(each) for each in network.parameters()]
        self.copies = list(zip(average.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def update(self, share: float | Tensor) -> None:
        """Take the weights into the average: ``average = (1 - share) * average + share * weights``.

        A tensor on the device of the weights is read when the update is repeated by a CUDA graph.
        """
        if isinstance(share, Tensor):
            # The same in three operations on all weights; lerp takes one number for all of them from the host alone.
            moves = torch._foreach_sub(self.parameters, self.averages)
            torch._foreach_mul_(moves, share)
            torch._foreach_add_(self.averages, moves)
        else:
            torch._foreach_lerp_(self.averages, self.parameters, share)
        for target, source in self.copies:
            target.copy_(source)


def average_of(network: nn.Module, before: nn.Module | None = None) -> nn.Module:
    """Return a copy of a network that is averaged: what ``before`` has keeps its average, the rest starts as it is."""
    average = copy.deepcopy(network).eval().requires_grad_(False)
    known = {} if before is None else before.state_dict()
    for key, value in average.state_dict().items():
        if key in known and known[key].shape == value.shape:
            value.copy_(known[key])
    return average
