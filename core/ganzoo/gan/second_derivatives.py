"""Convolutions with a fast second derivative: gradient penalties spend most of their time on it.

A convolution is linear in its input and linear in its weights. So each of its derivatives, of any order, is one of
three operations: the convolution itself, its gradient for the input, and its gradient for the weights. Autograd's
second derivative does not use the third: it convolves with batch and channels exchanged, so that the kernel is as
large as a feature map, which on a CPU takes two to seven times as long; on an H100 whole trainings with a gradient
penalty or R1 are 1.07 to 1.10 times as fast with these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["FastSecondDerivatives"]

Size = int | Sequence[int]


class FastSecondDerivatives(TorchFunctionMode):
    """While entered, every two-dimensional convolution is such a one, whichever network it belongs to."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _REPLACED.get(func, func)(*args, **(kwargs or {}))


class _Geometry(NamedTuple):
    """The arguments that all three operations take, in aten's order."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    if not _ours(input) or isinstance(padding, str):
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    geometry = _Geometry(_pair(stride), _pair(padding), _pair(dilation), False, [0, 0], groups)
    return _Convolution.apply(input, weight, bias, geometry)


def _conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    if not _ours(input):
        return functional.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    geometry = _Geometry(_pair(stride), _pair(padding), _pair(dilation), True, _pair(output_padding), groups)
    return _Convolution.apply(input, weight, bias, geometry)


_REPLACED: Mapping[Callable[..., Any], Callable[..., Any]] = {
    functional.conv2d: _conv2d,
    functional.conv_transpose2d: _conv_transpose2d,
}


def _ours(input: Tensor) -> bool:
    # Autocast converts types, which the functions below do not. Other devices than these have not been tried.
    return input.device.type in ("cpu", "cuda") and not torch.is_autocast_enabled(input.device.type)


def _pair(size: Size) -> Sequence[int]:
    return [size, size] if isinstance(size, int) else size


class _Convolution(Function):
    """The convolution: ``x``, ``weight``, ``bias`` -> ``y``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(x, weight)
        y: Tensor = torch.ops.aten.convolution(x, weight, bias, *geometry)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        dx, dweight = _Gradients.apply(dy, *ctx.saved_tensors, ctx.geometry, (for_x, for_weight, False))
        return dx, dweight, dy.sum((0, 2, 3)) if for_bias else None, None


class _Gradients(Function):
    """Its gradients: ``dy``, ``x``, ``weight`` -> ``dx``, ``dweight``, where they are wanted.

    ``dx`` depends on ``dy`` and ``weight``, ``dweight`` on ``dy`` and ``x``. Of the third only the shape matters.
    """

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, weight: Tensor, geometry: _Geometry, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.geometry = geometry
        ctx.save_for_backward(dy, x, weight)
        ctx.set_materialize_grads(False)
        dx, dweight, _ = torch.ops.aten.convolution_backward(dy, x, weight, None, *geometry, wanted)
        return dx, dweight

    @staticmethod
    def backward(ctx: Any, v: Tensor | None, w: Tensor | None) -> tuple[Tensor | None, ...]:
        # With x * weight for the convolution, <v, dx> = <dy, v * weight> and <w, dweight> = <dy, x * w>: so v takes
        # the place of x, and w that of the weight.
        (dy, x, weight), geometry = ctx.saved_tensors, ctx.geometry
        for_dy, for_x, for_weight, *_ = ctx.needs_input_grad
        of_dy = of_x = of_weight = None
        if for_dy and v is not None:
            of_dy = _Convolution.apply(v, weight, None, geometry)
        if for_dy and w is not None:
            more = _Convolution.apply(x, w, None, geometry)
            of_dy = more if of_dy is None else of_dy + more
        if for_x and w is not None:
            of_x, _ = _Gradients.apply(dy, x, w, geometry, (True, False, False))
        if for_weight and v is not None:
            _, of_weight = _Gradients.apply(dy, v, weight, geometry, (False, True, False))
        return of_dy, of_x, of_weight, None, None
