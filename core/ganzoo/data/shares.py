"""The part of each global batch that one of several processes computes, and random numbers that do not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["Draws", "Share"]


@dataclass(frozen=True)
class Share:
    """Which rows of a global batch a process has: the ``rank``-th of ``world`` equal parts."""

    rank: int = 0
    world: int = 1

    def of(self, rows: Tensor) -> Tensor:
        """Return the rows of this process; raises ValueError if they cannot be divided."""
        size, rest = divmod(len(rows), self.world)
        if rest:
            raise ValueError(f"{len(rows)} rows cannot be divided among {self.world} processes")
        return rows[self.rank * size : (self.rank + 1) * size]


_FACTORIES = {torch.rand, torch.randn, torch.randint}

_IN_PLACE = {
    getattr(torch.Tensor, f"{name}_")
    for name in ("normal", "uniform", "bernoulli", "exponential", "random", "cauchy", "log_normal", "geometric")
}

_ROW_BY_ROW: set[Callable[..., Any]] = {
    *(torch.rand_like, torch.randn_like, torch.randint_like, torch.normal, torch.bernoulli, torch.Tensor.bernoulli),
    *(torch.multinomial, torch.Tensor.multinomial, torch.poisson, torch.binomial, torch._standard_gamma),
    *(torch.dropout, torch.feature_dropout, torch.alpha_dropout, torch.feature_alpha_dropout, torch.rrelu),
    *(functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d),
    *(functional.alpha_dropout, functional.feature_alpha_dropout, functional.rrelu, functional.gumbel_softmax),
}


class Draws(TorchFunctionMode):
    """While entered, random numbers are those that one process alone would draw for its rows of the global batch.

    Every process draws for the whole batch, from generators that are in the same state everywhere, and takes its rows.
    So it is for numbers whose first dimension is that of the batch: the ``rows`` of this process, some batches one
    behind the other, or a part of it, such as half. Other numbers are the same in all processes. What functions written
    in Python draw inside of themselves, ``nn.MultiheadAttention`` with dropout for example, and numbers of NumPy and of
    Python are such too.
    """

    def __init__(self, share: Share, rows: int) -> None:
        super().__init__()
        self.share, self.rows = share, rows

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch; if it draws, for the rows of all processes."""
        kwargs = dict(kwargs or {})
        if func in _FACTORIES or (func is torch.normal and not _tensors(args, kwargs)):
            return self._made(func, args, kwargs)
        if func in _IN_PLACE:
            target: Tensor = args[0]
            if not self._shared(target.shape):
                return func(*args, **kwargs)
            drawn = func(self._repeated(target.detach()), *args[1:], **kwargs)
            with torch.no_grad():
                return target.copy_(self._own(drawn, len(target)))
        if func in _ROW_BY_ROW:
            first = next(iter(_tensors(args, kwargs)), None)
            if first is not None and self._shared(first.shape):
                size = len(first)
                args, kwargs = _mapped(args, kwargs, lambda each: self._repeated(each) if _is(each, size) else each)
                return self._own(func(*args, **kwargs), size)
        return func(*args, **kwargs)

    def _shared(self, shape: Sequence[int]) -> bool:
        """Return whether there is a row for each sample, for each of some batches, or for a part of one."""
        size = shape[0] if len(shape) else 0
        # A single number is one for all samples together, unless there is a single sample.
        return size > 0 and gcd(size, self.rows) == min(size, self.rows) and (prod(shape) > 1 or self.rows == 1)

    def _made(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        if "size" in kwargs:
            shape = tuple(kwargs["size"])
        elif args and isinstance(args[-1], Sequence):
            shape, args = tuple(args[-1]), args[:-1]
        elif func in (torch.rand, torch.randn):
            shape, args = tuple(args), ()
        else:
            shape = ()
        if not self._shared(shape):
            return func(*args, **{**kwargs, "size": shape})  # type: ignore[no-any-return]
        whole = (shape[0] * self.share.world, *shape[1:])
        return self._own(func(*args, **{**kwargs, "size": whole}), shape[0])

    def _repeated(self, x: Tensor) -> Tensor:
        """Return the rows of this process in the place of those of every process."""
        size, world = min(len(x), self.rows), self.share.world
        parts = x.unflatten(0, (-1, 1, size)).expand(-1, world, *[-1] * x.dim())
        # In the layout of x, as numbers are drawn in the order of memory.
        dense = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if dense else torch.contiguous_format
        repeated: Tensor = parts.reshape(-1, *x.shape[1:]).contiguous(memory_format=layout)
        return repeated

    def _own(self, whole: Tensor, size: int) -> Tensor:
        """Return the rows of this process, ``size`` in all, of each batch in ``whole``."""
        parts = whole.unflatten(0, (-1, self.share.world, min(size, self.rows)))
        own: Tensor = parts[:, self.share.rank].flatten(0, 1)
        return own


def _tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    return [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]


def _is(value: Any, size: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == size


def _mapped(
    args: Sequence[Any], kwargs: Mapping[str, Any], change: Callable[[Any], Any]
) -> tuple[list[Any], dict[str, Any]]:
    return [change(each) for each in args], {name: change(each) for name, each in kwargs.items()}
