"""SNGAN's residual networks: blocks that upsample or downsample their maps by 2."""

from collections.abc import Callable
from itertools import pairwise
from math import sqrt

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate, pad

from ganzoo import AdversarialConfig, Image, OptimizerConfig
from ganzoo_plugins.networks.layers import same_conv2d
from ganzoo_plugins.networks.sizes import num_downsamples

__all__ = [
    "DownBlock",
    "Norm",
    "SNGANConfig",
    "UpBlock",
    "convolve_upsampled",
    "residual_features",
    "tapered",
    "upsampled",
]

Norm = Callable[[int], nn.Module]
"""Makes the normalization of so many channels: a module that takes the map and what else its block is given."""


class SNGANConfig(AdversarialConfig):
    """Settings of SNGAN."""

    width: int = Field(48, ge=1, description="channels of the generator's first map")
    discriminator_width: int = Field(48, ge=1, description="channels of the discriminator's last map")
    taper: bool = Field(True, description="half as many channels whenever the size doubles; the paper's stay the same")
    latent_dim: int = Field(128, ge=1, description="size of the latent")
    n_critic: int | None = Field(1, ge=1, description="discriminator steps a generator step")
    spectral_norm: bool = Field(
        True, description="divide the discriminator's weights by their spectral norm (arXiv:1802.05957)"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=5e-4, betas=(0.0, 0.9)), description="optimizer of both")
    discriminator_lr: float | None = Field(1e-3, gt=0, description="learning rate of the discriminator")


class UpBlock(nn.Module):
    """The residual block of SNGAN's generator, which doubles the size (arXiv:1802.05957, appendix B.4).

    Normalization, ReLU, nearest-neighbor upsampling, 3x3 convolution, normalization, ReLU, 3x3 convolution; beside it
    upsampling and a 1x1 convolution, here in the other order, which gives the same and costs a quarter. ``norm`` makes
    the two normalizations: batch norm, or a conditional one, which is given the block's further inputs.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = _convolution(inputs, outputs, 3)
        self.conv2 = _convolution(outputs, outputs, 3)
        self.shortcut = _convolution(inputs, outputs, 1)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', 2 H, 2 W]."""
        inner = torch.relu(self.norm1(x, *condition))
        inner = torch.relu(self.norm2(convolve_upsampled(inner, self.conv1), *condition))
        return self.conv2(inner) + upsampled(self.shortcut(x))


class DownBlock(nn.Module):
    """The residual block of SNGAN's discriminator (arXiv:1802.05957, appendix B.4), without normalization.

    ReLU, 3x3 convolution, ReLU, 3x3 convolution, and with ``downsample`` 2x2 average pooling; beside it a 1x1
    convolution and the same pooling, here in the other order, or the input itself where neither channels nor size
    change. The ``first`` block has no ReLU in front: it would cut off the image's lower half.
    """

    def __init__(self, inputs: int, outputs: int, *, downsample: bool = True, first: bool = False) -> None:
        super().__init__()
        self.downsample, self.first = downsample, first
        self.conv1 = _convolution(inputs, outputs, 3)
        self.conv2 = _convolution(outputs, outputs, 3)
        self.shortcut = _convolution(inputs, outputs, 1) if downsample or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', H, W], or half the size, rounded down."""
        inner = torch.relu(self.conv1(x if self.first else torch.relu(x)))
        if self.downsample:
            return _convolve_downsampled(inner, self.conv2) + self.shortcut(avg_pool2d(x, 2))
        return self.conv2(inner) + self.shortcut(x)


def residual_features(sample: Image, width: int, *, taper: bool = False) -> nn.Sequential:
    """Return SNGAN's discriminator up to its pooling: images to features [N, width, h, w], behind their ReLU.

    Two blocks that downsample and two that do not, as in the paper's table for 32x32 images; larger images get more
    such blocks, so that maps of about 8x8 are left. With ``taper`` the blocks that downsample have the widths of
    :func:`tapered`.
    """
    count = max(2, num_downsamples(sample)[0] - 1)
    widths = [sample.channels, *([width] * (count + 1) if not taper else reversed(tapered(width, count + 1)))]
    blocks = [DownBlock(*pair, first=index == 0) for index, pair in enumerate(pairwise(widths[:-1]))]
    blocks += [DownBlock(*pair, downsample=False) for pair in ((widths[-2], width), (width, width))]
    return nn.Sequential(*blocks, nn.ReLU())


def tapered(width: int, count: int) -> list[int]:
    """Return the channels of ``count`` maps, the smallest first: divided by 2 at each upsampling, down to an eighth."""
    return [max(width // min(2**index, 8), 1) for index in range(count)]


def upsampled(x: Tensor) -> Tensor:
    """Repeat each pixel of [N, C, H, W] twice in both directions."""
    return interpolate(x, scale_factor=2, mode="nearest")


def convolve_upsampled(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Return the 3x3 convolution of the doubled map, as one transposed convolution of the small one.

    Of the nine pixels under the kernel at most four differ, so that it takes four multiplications instead of nine. In
    exports it is what it stands for.
    """
    if torch.compiler.is_compiling():
        return convolution(upsampled(x))
    kernel = _overlaid(convolution.weight).flip(2, 3).transpose(0, 1)
    return conv_transpose2d(x, _channels_last(kernel), convolution.bias, stride=2, padding=1)


def _convolve_downsampled(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Return the pooled 3x3 convolution, as one convolution of stride 2: 16 multiplications instead of 36."""
    if torch.compiler.is_compiling():
        return avg_pool2d(convolution(x), 2)
    return conv2d(x, _channels_last(_overlaid(convolution.weight) / 4), convolution.bias, stride=2, padding=1)


def _overlaid(weight: Tensor) -> Tensor:
    """Return 4x4 kernels: the 3x3 kernels, added up at the four places that a 2x2 square of pixels has them at."""
    wide = pad(weight, (1, 1, 1, 1))
    return wide[..., 1:, 1:] + wide[..., 1:, :-1] + wide[..., :-1, 1:] + wide[..., :-1, :-1]


def _channels_last(kernel: Tensor) -> Tensor:
    return kernel.contiguous(memory_format=torch.channels_last)


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """Return a convolution that keeps the size, its weights drawn as in the authors' code: Glorot's way, for ReLUs."""
    convolution = same_conv2d(inputs, outputs, kernel)
    nn.init.xavier_uniform_(convolution.weight, gain=sqrt(2) if kernel > 1 else 1.0)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution
