"""What networks of series share."""

from torch import Tensor, nn

from ganzoo import Sequence

__all__ = ["InRange"]


class InRange(nn.Module):
    """Any numbers into the range of a sequence, by a tanh."""

    def __init__(self, sample: Sequence) -> None:
        super().__init__()
        low, high = sample.range
        self.middle, self.reach = (low + high) / 2, (high - low) / 2

    def forward(self, x: Tensor) -> Tensor:
        """Map each number of [N, ...] by itself."""
        return self.middle + self.reach * x.tanh()
