"""Layers that several of the bundled GANs share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import avg_pool2d, layer_norm, leaky_relu_, pad

from ganzoo import Field, Image, full_precision, widened

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "InstanceNorm2d",
    "LayerNorm2d",
    "ThinConv2d",
    "output_activation",
    "same_conv2d",
]


class AvgPool2d(nn.Module):
    """The mean of every 2 x 2 pixels; as ``nn.AvgPool2d(2)``, whose gradient first fills a map with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, H // 2, W // 2]."""
        if x.device.type != "cpu" or x.shape[2] % 2 or x.shape[3] % 2 or not torch.is_grad_enabled():
            return avg_pool2d(x, 2)
        pooled: Tensor = _Pool.apply(x)
        return pooled


class _Pool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        spread: Tensor = _Spread.apply(grad)
        return spread


class _Spread(Function):
    """The transpose of :class:`_Pool`: a quarter of each value to each of its four pixels."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        n, c, h, w = y.shape
        rows = (y / 4).permute(0, 2, 3, 1)[:, :, None, :, None]
        return rows.expand(n, h, 2, w, 2, c).reshape(n, 2 * h, 2 * w, c).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        pooled: Tensor = _Pool.apply(grad)
        return pooled


class AdaptiveAvgPool2d(nn.Module):
    """As ``nn.AdaptiveAvgPool2d``, for one size of input: a product with a matrix, whose gradient is much faster."""

    matrix: Tensor

    def __init__(self, inputs: tuple[int, int], outputs: tuple[int, int]) -> None:
        super().__init__()
        self.outputs = outputs
        height, width = (_averaging(before, after) for before, after in zip(inputs, outputs, strict=True))
        self.register_buffer("matrix", torch.kron(height, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, *outputs]."""
        x = widened(x)
        with full_precision(x.device):  # the weights of a mean have more than 8 bits
            return (self.matrix @ x.flatten(2).mT).mT.unflatten(2, self.outputs)


def _averaging(before: int, after: int) -> Tensor:
    """Return the [after, before] matrix of means over neighbors; neighborhoods overlap where sizes do not divide."""
    matrix = torch.zeros(after, before)
    for i in range(after):
        start, end = i * before // after, -(-(i + 1) * before // after)
        matrix[i, start:end] = 1 / (end - start)
    return matrix


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
            rows = _Normalize.apply(rows, self.weight, self.bias, self.eps, 1.0 if self.slope is None else self.slope)
        else:
            rows = layer_norm(rows, rows.shape[1:], self.weight, self.bias, self.eps)
            if self.slope is not None:
                rows = leaky_relu_(rows, self.slope)
        return rows.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """Show the shape and the slope."""
        return f"{tuple(self.weight.shape)}, eps={self.eps}, slope={self.slope}"


class _Normalize(Function):
    """``leaky_relu(layer_norm(x))``, whose second derivative, which gradient penalties need, is written out.

    Autograd's own makes some 25 passes over the maps, this one 10, and on a CPU a few samples at a time, so that they
    are still in the cache in the next pass. With x' the normalized rows, M their length, r = 1/std, d = dy times the
    slope of the activation, and P v = v - mean(v) - x' mean(x' v), the first derivative is dx = r P(w d); for a
    gradient v of dx:

        of w d:  u = r P v          of x:  -r (mean(x' w d) u + mean(x' v) dx + mean(v dx) x')
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
        y, mean, rstd = torch.native_layer_norm(x, x.shape[1:], weight, bias, eps)
        if slope != 1:
            leaky_relu_(y, slope)
        ctx.slope = slope
        ctx.save_for_backward(x, y, mean, rstd, weight, bias)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return (*_NormalizeBackward.apply(dy, *ctx.saved_tensors, ctx.slope, ctx.needs_input_grad[:3]), None, None)


class _NormalizeBackward(Function):
    @staticmethod
    def forward(
        ctx: Any,
        dy: Tensor,
        x: Tensor,
        y: Tensor,
        mean: Tensor,
        rstd: Tensor,
        weight: Tensor,
        bias: Tensor,
        slope: float,
        wanted: Sequence[bool],
    ) -> tuple[Tensor | None, ...]:
        d = _activated(dy, y, slope)
        grads = _layer_norm_backward(d, x, x.shape[1:], mean, rstd, weight, bias, wanted)
        ctx.slope = slope
        ctx.save_for_backward(dy, x, y, mean, rstd, weight, grads[0])
        ctx.set_materialize_grads(False)
        return grads

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor | None, *others: Tensor | None) -> tuple[Tensor | None, ...]:
        if any(other is not None for other in others):
            raise NotImplementedError("LayerNorm2d: no second derivative through the gradient of its weight or bias")
        if v is None:
            return (None,) * 9
        dy, x, y, mean, rstd, weight, dx = ctx.saved_tensors
        grad_dy, grad_x, grad_weight = torch.empty_like(x), torch.empty_like(x), torch.zeros_like(weight)
        for part in _parts(x):
            d, r, of_dx = _activated(dy[part], y[part], ctx.slope), rstd[part], v[part]
            first = (True, False, False)
            u = _layer_norm_backward(of_dx, x[part], x.shape[1:], mean[part], r, None, None, first)[0]
            normal = (x[part] - mean[part]).mul_(r)
            grad_weight += (d * u).sum(0)

            def scaled_mean(a: Tensor, b: Tensor, r: Tensor = r) -> Tensor:
                return (a * b).flatten(1).sum(1).view_as(r) * (-r / weight.numel())

            of_x = torch.mul(u, scaled_mean(normal, d * weight), out=grad_x[part])
            of_x.addcmul_(dx[part], scaled_mean(normal, of_dx)).addcmul_(normal, scaled_mean(of_dx, dx[part]))
            grad_dy[part] = _activated(u.mul_(weight), y[part], ctx.slope)
        return grad_dy, grad_x, None, None, None, grad_weight, None, None, None


def _parts(rows: Tensor) -> list[slice]:
    """Return slices of the batch: on a CPU of about half a megabyte, some of which fit in the cache of a core."""
    size = len(rows)
    if rows.device.type == "cpu" and size:
        size = max(1, min(size, 2**17 * size // rows.numel()))
    return [slice(start, start + size) for start in range(0, len(rows), size or 1)]


def _activated(dy: Tensor, y: Tensor, slope: float) -> Tensor:
    """Return the gradient before the leaky ReLU, given that of its output ``y``."""
    return dy if slope == 1 else torch.ops.aten.leaky_relu_backward(dy, y, slope, True)


_layer_norm_backward = torch.ops.aten.native_layer_norm_backward


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
