"""Batches that several processes compute together: what mixes their samples, and statistics over all of them.

A process has some rows of each global batch, and the gradients of all are averaged. A mean over its rows is then all
that a loss needs. What is no mean, such as a standard deviation, or a group of samples that are looked at together,
asks for the rows of all by :func:`whole_batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ganzoo.data.shares import Draws, Share

__all__ = ["WholeBatch", "own_rows", "whole_batch"]

_entered: list[WholeBatch] = []


def whole_batch(x: Tensor) -> Tensor:
    """Return the rows [N, ...] that all processes have of the batch, in its order; ``x`` itself if there is one alone.

    Gradients of any order pass through. Every process calls it at the same places. What is drawn for a sample is drawn
    before: for the rows of all it would be drawn once more in each process.
    """
    return _gather(x, _entered[-1].share) if _entered else x


def own_rows(x: Tensor) -> Tensor:
    """Return the rows that this process has, of those of all that :func:`whole_batch` has returned."""
    return _entered[-1].share.of(x) if _entered else x


class WholeBatch(Draws):
    """While entered, a phase computes what one process alone would compute on the global batch.

    That is so for the random numbers that :class:`~ganzoo.data.shares.Draws` is for, for :func:`whole_batch`, and,
    unless ``batch_norm`` is false, for the statistics of batch norm.
    """

    def __init__(self, share: Share, rows: int, *, batch_norm: bool = True) -> None:
        super().__init__(share, rows)
        self._batch_norm = batch_norm

    def __enter__(self) -> WholeBatch:
        _entered.append(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]
        _entered.remove(self)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch; batch norm and what draws, for the rows of all processes."""
        if func is functional.batch_norm and self._batch_norm:
            return _batch_norm(self.share, *args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


def _batch_norm(
    share: Share,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch norm over the rows of all processes; torch's SyncBatchNorm has no second derivative, and this has."""
    if not training:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    wide = x if x.dtype == torch.float64 else x.float()
    dims = [0, *range(2, x.dim())]
    # The mean of variances and the variance of means, which are exact where a mean of squares would cancel.
    variances, means = torch.var_mean(wide, dims, correction=0)
    means, variances = _gather(torch.stack([means, variances])[None], share).unbind(1)
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square().mean(0)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            count = x.numel() // x.shape[1] * share.world
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * (count / max(count - 1, 1))).to(running_var), momentum)
    shape = (1, -1, *[1] * (x.dim() - 2))
    scale = (variance + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    out = (wide - mean.view(shape)) * scale.view(shape)
    return (out if bias is None else out + bias.view(shape)).to(x.dtype)


class _Gather(torch.autograd.Function):
    """Joins the rows of all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(share.world)]
        torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        # Each process has a loss of its own, and a row has a share in all of them.
        return _Scatter.apply(grads[0], ctx.share), None


class _Scatter(torch.autograd.Function):
    """Adds up what all processes have for all rows, and returns this process's; the transpose of :class:`_Gather`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return share.of(total).clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _gather(grads[0], ctx.share), None


def _gather(x: Tensor, share: Share) -> Tensor:
    return _Gather.apply(x, share)  # type: ignore[no-any-return]
