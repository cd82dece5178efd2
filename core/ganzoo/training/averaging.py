"""The exponential moving average (EMA) of a network's weights, which samples are drawn with."""

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """Keeps the exponential moving average of a network's weights up to date, in a second network of the same kind.

    Buffers are copied: those such as batch norm's running statistics are moving averages already, and some are
    integers.
    """

    def __init__(self, average: nn.Module, network: nn.Module) -> None:
        self.averages: list[Tensor] = list(average.parameters())
        self.parameters: list[Tensor] = list(network.parameters())
        self.copies = list(zip(average.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def update(self, decay: float, step: int) -> None:
        """Take the weights after ``step`` steps into the average: ``average = d * average + (1 - d) * weights``."""
        # Warm-up: with the full decay from the first step, the random initial weights would stay in the average for
        # thousands of steps (0.999 forgets half of them in 700), and early samples would be noise.
        decay = min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.averages, self.parameters, 1 - decay)
        for target, source in self.copies:
            target.copy_(source)
