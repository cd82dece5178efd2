"""Layers that several of the bundled GANs share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import layer_norm, leaky_relu_

from ganzoo import Image
from ganzoo.signature import Field

__all__ = ["LayerNorm2d", "output_activation"]


class LayerNorm2d(nn.Module):
    """Layer normalisation over a whole feature map, C, H and W, with a weight and a bias for each element.

    ``nn.LayerNorm`` would answer in NCHW layout and make every convolution around it convert; this one keeps
    channels-last maps as they are. With ``slope`` a leaky ReLU follows, in place, which a layer behind this one could
    not do: what it returns is a view. (Layer Normalization, arXiv:1607.06450.)
    """

    def __init__(self, channels: int, height: int, width: int, eps: float = 1e-5, slope: float | None = None) -> None:
        super().__init__()
        self.eps, self.slope = eps, slope
        # Stored as H, W, C: the order that channels-last maps have in memory.
        self.weight = nn.Parameter(torch.ones(height, width, channels))
        self.bias = nn.Parameter(torch.zeros(height, width, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, H, W], keeping its memory layout."""
        rows = x.permute(0, 2, 3, 1)
        if torch.is_grad_enabled() and x.dtype == self.weight.dtype:
            rows = _Normalise.apply(rows, self.weight, self.bias, self.eps)
        else:
            rows = layer_norm(rows, rows.shape[1:], self.weight, self.bias, self.eps)
        if self.slope is not None:
            rows = leaky_relu_(rows, self.slope)
        return rows.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """Show the shape and the slope."""
        return f"{tuple(self.weight.shape)}, eps={self.eps}, slope={self.slope}"


class _Normalise(Function):
    """``layer_norm`` over all but the batch, whose second derivative, which gradient penalties need, is written out.

    Autograd's own makes some 25 passes over the maps, this one 10. With x' the normalised rows, M their length,
    r = 1/std and P v = v - mean(v) - x' mean(x' v), the first derivative is dx = r P(w dy); for a gradient v of dx:

        of w dy:  u = r P v          of x:  -r (mean(x' w dy) u + mean(x' v) dx + mean(v dx) x')
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        y, mean, rstd = torch.native_layer_norm(x, x.shape[1:], weight, bias, eps)
        ctx.save_for_backward(x, mean, rstd, weight, bias)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return (*_NormaliseBackward.apply(dy, *ctx.saved_tensors, ctx.needs_input_grad[:3]), None)


class _NormaliseBackward(Function):
    @staticmethod
    def forward(
        ctx: Any,
        dy: Tensor,
        x: Tensor,
        mean: Tensor,
        rstd: Tensor,
        weight: Tensor,
        bias: Tensor,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Tensor, Tensor]:
        grads = torch.ops.aten.native_layer_norm_backward(dy, x, x.shape[1:], mean, rstd, weight, bias, wanted)
        ctx.save_for_backward(dy, x, mean, rstd, weight, grads[0])
        ctx.set_materialize_grads(False)
        return grads

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor | None, *others: Tensor | None) -> tuple[Tensor | None, ...]:
        if any(other is not None for other in others):
            raise NotImplementedError("LayerNorm2d: no second derivative through the gradient of its weight or bias")
        if v is None:
            return (None,) * 7
        dy, x, mean, rstd, weight, dx = ctx.saved_tensors
        first = (True, False, False)
        u = torch.ops.aten.native_layer_norm_backward(v, x, x.shape[1:], mean, rstd, None, None, first)[0]
        normal = (x - mean).mul_(rstd)

        def scaled_mean(a: Tensor, b: Tensor) -> Tensor:
            return torch.linalg.vecdot(a.flatten(1), b.flatten(1)).view_as(rstd) * (-rstd / weight.numel())

        grad_x = u * scaled_mean(normal, dy * weight)
        grad_x.addcmul_(dx, scaled_mean(normal, v)).addcmul_(normal, scaled_mean(v, dx))
        return u * weight, grad_x, None, None, (dy * u).sum(0), None, None


def output_activation(sample: Field) -> nn.Module:
    """Return what maps a generator's last layer into the sample's range: sigmoid, tanh, or nothing for points."""
    if not isinstance(sample, Image):
        return nn.Identity()
    return {(0.0, 1.0): nn.Sigmoid(), (-1.0, 1.0): nn.Tanh()}[sample.range]
