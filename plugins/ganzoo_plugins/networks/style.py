"""Layers of ProGAN and StyleGAN: equalized learning rates, modulated convolutions, FIR resampling, minibatch deviation.

Shapes: N samples, C or I input channels, O output channels, H x W pixels, K the side of a kernel, D size of a style.
"""

from collections.abc import Callable
from math import gcd, sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear

from ganzoo import full_precision, own_rows, whole_batch, widened

__all__ = [
    "EPSILON",
    "GAIN",
    "EqualizedConv2d",
    "EqualizedLinear",
    "Filter",
    "MinibatchDeviation",
    "ModulatedConv2d",
    "activated",
    "channels_of",
    "filtered",
    "normalized",
]

GAIN = sqrt(2)
"""What keeps the variance of a leaky ReLU's output at that of its input."""

EPSILON = 1e-8


def activated(layer: Callable[[Tensor, float], Tensor], x: Tensor, gain: float = GAIN) -> Tensor:
    """Return the leaky ReLU of slope 0.2 of a layer's output, times a gain.

    The layer applies the gain: before a leaky ReLU it does the same, and to weights it costs no pass over the map.
    """
    return leaky_relu(layer(x, gain), 0.2)


def normalized(x: Tensor) -> Tensor:
    """Divide each sample's vector, or each pixel's over its channels, by the root of its mean square (pixel norm)."""
    x = widened(x)
    return x * (x.square().mean(1, keepdim=True) + EPSILON).rsqrt()


def filtered(
    x: Tensor, taps: Tensor, convolution: Callable[..., Tensor] = conv2d, *, stride: int = 1, padding: int = 0
) -> Tensor:
    """Convolve each channel of [N, C, H, W], by ``conv2d`` or ``conv_transpose2d``.

    The taps are [K, L], or those of a separable filter [K], which goes along the columns and then along the rows.
    """
    if stride > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # Strided convolutions of single channels, or their gradients, take 10 to 20 times as long in bfloat16 there.
        with full_precision(x.device):
            return filtered(x.float(), taps, convolution, stride=stride, padding=padding).to(x.dtype)
    channels = x.shape[1]
    if taps.dim() == 2:
        return convolution(x, taps.expand(channels, 1, -1, -1), stride=stride, padding=padding, groups=channels)
    column, row = taps[:, None].expand(channels, 1, -1, -1), taps.expand(channels, 1, 1, -1)
    x = convolution(x, column, stride=(stride, 1), padding=(padding, 0), groups=channels)
    return convolution(x, row, stride=(1, stride), padding=(0, padding), groups=channels)


def channels_of(base: int, most: int, count: int) -> list[int]:
    """Return the channels of the maps from the image down to the start map, which counts as one of 4x4.

    ``base`` over the resolution, ``most`` at the most; there are ``count`` halvings, and so ``count`` + 1 maps.
    """
    return [min(base // (4 << level), most) or 1 for level in range(count, -1, -1)]


class EqualizedLinear(nn.Module):
    """A linear layer whose weights are N(0, 1) and scaled at run time (ProGAN, arXiv:1710.10196, section 4.1).

    So Adam's steps, which have one size whatever the scale of the gradients, are of equal relative size in all layers.
    With ``rate`` all weights and the bias learn at this share of the learning rate.
    """

    def __init__(
        self, inputs: int, outputs: int, *, gain: float = 1.0, bias: float | None = 0.0, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = None if bias is None else nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = gain * rate / sqrt(inputs), rate

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Map [..., inputs] to [..., outputs], times a gain."""
        bias = None if self.bias is None else self.bias * (self.rate * gain)
        return linear(x, self.weight * (self.scale * gain), bias)


class EqualizedConv2d(nn.Module):
    """A convolution of stride 1 that keeps the size, its weights scaled like those of :class:`EqualizedLinear`.

    With ``resample`` it halves the size after a FIR filter, or doubles it before one.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        gain: float = 1.0,
        bias: bool = True,
        resample: Literal["down", "none"] = "none",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.padding = gain / sqrt(inputs * kernel**2), kernel // 2
        self.filter: Filter | None = None
        if resample == "down":
            # A 1x1 kernel needs the filter at every second pixel alone, a larger one the pixels between.
            self.filter = Filter(padding=2) if self.padding else Filter("down")

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Map [N, I, H, W] to [N, O, H, W], or half the height and width, times a gain."""
        weight, bias = self.weight * (self.scale * gain), None if self.bias is None else self.bias * gain
        if self.filter is None:
            return conv2d(x, weight, bias, padding=self.padding)
        return conv2d(self.filter(x), weight, bias, stride=2 if self.padding else 1)


class ModulatedConv2d(nn.Module):
    """A convolution whose weights each sample's style scales (StyleGAN2, arXiv:1912.04958, section 2.2).

    With w the weights and s the style, the sample's weights are w'_oik = s_i w_oik, and with ``demodulate`` they are
    divided by the square root of sum_ik w'_oik^2 + 1e-8. That is computed on the maps, which are linear in them: the
    input is scaled, convolved by w, and scaled again, so that one convolution serves samples of any number and exports
    as such. With ``up`` the size is doubled, and a FIR filter follows.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, demodulate: bool = True, up: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.demodulate, self.padding = demodulate, kernel // 2
        self.filter = Filter(gain=4) if up else None

    def forward(self, x: Tensor, style: Tensor, gain: float = 1.0) -> Tensor:
        """Map [N, I, H, W], or one map for all, and styles [N, I] to [N, O, H, W], or twice the size, times a gain."""
        style, weight = widened(style), self.weight
        with full_precision(x.device):  # sums of squares over many weights
            if self.demodulate:
                norms = linear(style.square(), weight.square().sum((2, 3)))
                scale = (norms + EPSILON).rsqrt()[:, :, None, None] * gain
            else:
                style = style * gain
        x = x * style[:, :, None, None].to(x.dtype)
        if self.filter is not None:
            x = self.filter(conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = conv2d(x, weight, padding=self.padding)
        return x * scale.to(x.dtype) if self.demodulate else x


class MinibatchDeviation(nn.Module):
    """Adds a channel that says how much the samples of a group differ (ProGAN, arXiv:1710.10196, section 3).

    The standard deviation over the group of ``group`` samples, averaged over features and pixels. A batch that no such
    groups make up is divided into the largest that do.
    """

    mixes_samples = True

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C + 1, H, W]."""
        n, _, height, width = x.shape
        together = whole_batch(widened(x))
        total = len(together)
        group = gcd(total, self.group)
        # Sample i is in the group of i modulo the number of groups, as in the authors' code.
        rows = together.reshape(group, total // group, -1)
        # Not ``var``, which over a few rows takes ten times as long.
        deviation = ((rows - rows.mean(0)).square().mean(0) + EPSILON).sqrt().mean(1)
        plane = own_rows(deviation.repeat(group))[:, None, None, None].expand(n, 1, height, width)
        return torch.cat([x, plane.to(x.dtype)], 1)


class Filter(nn.Module):
    """The FIR filter [1, 3, 3, 1] in both directions; ``up`` after doubling the size, ``down`` before halving.

    Doubling puts zeros between the pixels, halving takes every second one. Without either the map grows by twice
    ``padding`` less 3.
    """

    taps: Tensor

    def __init__(self, resample: Literal["up", "down", "none"] = "none", *, padding: int = 1, gain: float = 1) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        # Of the zeros between the pixels the gain makes up for.
        self.register_buffer("taps", torch.outer(line, line) * (gain / 64), persistent=False)
        self.resample, self.padding = resample, padding

    def forward(self, x: Tensor) -> Tensor:
        """Filter each channel of [N, C, H, W]."""
        if self.resample == "up":
            return filtered(x, self.taps, conv_transpose2d, stride=2, padding=1)
        return filtered(x, self.taps, stride=1 + (self.resample == "down"), padding=self.padding)
