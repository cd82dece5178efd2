"""Layers that several of the bundled GANs share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import layer_norm, leaky_relu_, pad

from ganzoo import Field, Image, widened

__all__ = ["InstanceNorm2d", "LayerNorm2d", "ThinConv2d", "output_activation", "same_conv2d"]


class InstanceNorm2d(nn.InstanceNorm2d):
    """torch's instance normalization, always computed in float32.

    Without weights, torch's kernel for the CPU rounds mean and deviation to the type of its input: under mixed
    precision to the 8 bits of bfloat16.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize each map of [N, C, H, W]."""
        return super().forward(widened(input))


class LayerNorm2d(nn.Module):
    """Layer normalization over a whole feature map, C, H and W, with a weight and a bias for each element.

    ``nn.LayerNorm`` would return NCHW layout, so that every convolution around it had to convert; this one keeps
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
        """Normalize [N, C, H, W], keeping its memory layout."""
        rows = x.permute(0, 2, 3, 1)
        if torch.is_grad_enabled() and x.dtype == self.weight.dtype:
            rows = _Normalize.apply(rows, self.weight, self.bias, self.eps)
        else:
            rows = layer_norm(rows, rows.shape[1:], self.weight, self.bias, self.eps)
        if self.slope is not None:
            rows = leaky_relu_(rows, self.slope)
        return rows.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """Show the shape and the slope."""
        return f"{tuple(self.weight.shape)}, eps={self.eps}, slope={self.slope}"


class _Normalize(Function):
    """``layer_norm`` over all but the batch, whose second derivative, which gradient penalties need, is written out.

    Autograd's own makes some 25 passes over the maps, this one 10. With x' the normalized rows, M their length,
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
        return (*_NormalizeBackward.apply(dy, *ctx.saved_tensors, ctx.needs_input_grad[:3]), None)


class _NormalizeBackward(Function):
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
            return (a.flatten(1).unsqueeze(1) @ b.flatten(1).unsqueeze(2)).view_as(rstd) * (-rstd / weight.numel())

        grad_x = u * scaled_mean(normal, dy * weight)
        grad_x.addcmul_(dx, scaled_mean(normal, v)).addcmul_(normal, scaled_mean(v, dx))
        return u * weight, grad_x, None, None, (dy * u).sum(0), None, None


def same_conv2d(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """Return a convolution of stride 1 that keeps the size, kernel odd, by the fastest way there is."""
    thin = inputs == 1 or outputs == 1
    return (ThinConv2d if thin else nn.Conv2d)(inputs, outputs, kernel, padding=kernel // 2)


class ThinConv2d(nn.Conv2d):
    """A convolution that keeps the size, from one channel or to one: a matrix product with the pixels' patches.

    oneDNN computes a map of one channel, be it the output or the gradient of the input, as if it had sixteen; this
    takes a quarter of the time. Anywhere but on the CPU, and in exports, it is the ordinary convolution.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', H, W], channels last."""
        if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        (n, _, h, w), k, bias = x.shape, self.kernel_size[0], self.bias
        assert bias is not None
        if self.in_channels == 1:
            patches = _Gather.apply(x.squeeze(1), k).flatten(1)  # [k k, N H W]
            return torch.addmm(bias, patches.t(), self.weight.flatten(1).t()).view(n, h, w, -1).permute(0, 3, 1, 2)
        # To one channel: what each pixel adds to its neighbors, so with the kernel upside down.
        kernel = self.weight.flip(2, 3).squeeze(0).flatten(1)  # [C, k k]
        added = kernel.t() @ x.permute(0, 2, 3, 1).reshape(-1, self.in_channels).t()
        return (_Scatter.apply(added.view(-1, n, h, w), k) + bias).unsqueeze(1)


class _Gather(Function):
    """Maps [N, H, W] to the k x k neighbors of each pixel, [k k, N, H, W]; zeros beyond the border."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
        ctx.k = k
        padded = pad(x, (k // 2,) * 4)
        n, h, w = padded.stride()
        return padded.as_strided((k, k, *x.shape), (h, w, n, h, w)).reshape(k * k, *x.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Scatter.apply(grad, ctx.k), None


class _Scatter(Function):
    """The transpose of :class:`_Gather`: adds each of [k k, N, H, W] to the pixel that it was taken from."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, k: int) -> Tensor:
        ctx.k = k
        n, h, w = parts.shape[1:]
        padded = parts.new_zeros(n, h + k - 1, w + k - 1)
        for index, part in enumerate(parts):
            i, j = divmod(index, k)
            padded[:, i : i + h, j : j + w] += part
        return padded[:, k // 2 : k // 2 + h, k // 2 : k // 2 + w].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(grad, ctx.k), None


def output_activation(sample: Field) -> nn.Module:
    """Return what maps a generator's last layer into the sample's range: sigmoid, tanh, or nothing for points."""
    if not isinstance(sample, Image):
        return nn.Identity()
    return {(0.0, 1.0): nn.Sigmoid(), (-1.0, 1.0): nn.Tanh()}[sample.range]
