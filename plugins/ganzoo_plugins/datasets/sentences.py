"""What data sets of tokens have in common."""

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

from ganzoo import Batch, DatasetConfig, DataSpec, TensorDataset, Tokens

__all__ = ["Sentences", "padded"]

Settings = TypeVar("Settings", bound=DatasetConfig, covariant=True)


class Sentences(TensorDataset[Settings]):
    """Tokens in memory, some of them held out of training.

    Fields: ``x`` int64 [N, length]. :meth:`examples` are those that are held out, which metrics compare samples and
    training data with; where there are none, they are training data.
    """

    def __init__(self, name: str, field: Tokens, rows: Tensor, held_out: Tensor) -> None:
        super().__init__(DataSpec(name, (field,), len(rows)), {field.name: rows})
        self.held_out = held_out

    def examples(self, n: int) -> Batch:
        """Return up to ``n`` of the sentences that are held out, always the same."""
        return {self.spec.sample.name: self.held_out[:n].clone()} if len(self.held_out) else super().examples(n)

    def content(self) -> Iterator[Tensor | bytes]:
        """Yield all of them."""
        yield from super().content()
        yield self.held_out


def padded(rows: list[list[int]], length: int) -> Tensor:
    """Return rows of at most ``length`` tokens as int64 [N, length], filled up with 0."""
    return torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int64).reshape(-1, length)
