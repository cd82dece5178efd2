"""BigGAN-deep's residual blocks: bottlenecks, with as few weights beside them as can be (arXiv:1809.11096)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ganzoo import Image
from ganzoo_plugins.networks.attention import SelfAttention, attends
from ganzoo_plugins.networks.biggan import generator_widths
from ganzoo_plugins.networks.layers import same_conv2d
from ganzoo_plugins.networks.resnet import Norm, convolve_upsampled, upsampled

__all__ = ["DeepDownBlock", "DeepUpBlock", "DeepUpBlocks", "deep_features"]


class DeepUpBlock(nn.Module):
    """A block of the generator (figure 16 a): norm, ReLU, convolution four times, of 1x1, 3x3, 3x3 and 1x1.

    Inside there are a quarter of the channels. With ``up`` the size is doubled before the first 3x3 convolution. Beside
    it are the first of the input's channels, as many as come out.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, *, up: bool) -> None:
        super().__init__()
        inner = max(inputs // 4, 1)
        self.norms = nn.ModuleList(norm(channels) for channels in (inputs, inner, inner, inner))
        self.convolutions = _bottleneck(inputs, inner, outputs)
        self.up, self.outputs = up, outputs

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', H, W], or twice the height and width."""
        inner, shortcut = x, x[:, : self.outputs]
        for index, (norm, convolution) in enumerate(zip(self.norms, self.convolutions, strict=True)):
            assert isinstance(convolution, nn.Conv2d)
            inner = torch.relu(norm(inner, condition))
            inner = convolve_upsampled(inner, convolution) if self.up and index == 1 else convolution(inner)
        return inner + (upsampled(shortcut) if self.up else shortcut)


class DeepUpBlocks(nn.Module):
    """The two blocks of a size: one that keeps it and the channels, and one that doubles it."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.first = DeepUpBlock(inputs, inputs, norm, up=False)
        self.second = DeepUpBlock(inputs, outputs, norm, up=True)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', 2 H, 2 W]."""
        doubled: Tensor = self.second(self.first(x, condition), condition)
        return doubled


class DeepDownBlock(nn.Module):
    """A block of the discriminator (figure 16 b): ReLU and convolution four times, of 1x1, 3x3, 3x3 and 1x1.

    Inside there are a quarter of the channels that come out. With ``down`` the size is halved before the last
    convolution. Beside it is the input, and behind its channels a 1x1 convolution makes those that are missing.
    """

    def __init__(self, inputs: int, outputs: int, *, down: bool) -> None:
        super().__init__()
        self.convolutions = _bottleneck(inputs, max(outputs // 4, 1), outputs)
        self.more = same_conv2d(inputs, outputs - inputs, 1) if outputs > inputs else None
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', H, W], or half the height and width."""
        inner = x
        for index, convolution in enumerate(self.convolutions):
            inner = torch.relu(inner)
            inner = convolution(avg_pool2d(inner, 2) if self.down and index == 3 else inner)
        shortcut = avg_pool2d(x, 2) if self.down else x
        return inner + (shortcut if self.more is None else torch.cat([shortcut, self.more(shortcut)], 1))


def deep_features(sample: Image, width: int, side: int) -> tuple[nn.Sequential, int]:
    """Return the discriminator up to its pooling, images to features [N, C, h, w] behind their ReLU, and C.

    A 3x3 convolution, and for each halving two blocks and, at maps of that side, self-attention (tables 7 to 9).
    """
    widths = generator_widths(sample, width)[0][::-1]
    layers: list[nn.Module] = [same_conv2d(sample.channels, widths[0], 3)]
    for level, (before, after) in enumerate(pairwise(widths), 1):
        layers += [DeepDownBlock(before, after, down=True), DeepDownBlock(after, after, down=False)]
        if attends(sample, side, level):
            layers.append(SelfAttention(after))
    return nn.Sequential(*layers, nn.ReLU()), widths[-1]


def _bottleneck(inputs: int, inner: int, outputs: int) -> nn.ModuleList:
    shapes = (inputs, inner, 1), (inner, inner, 3), (inner, inner, 3), (inner, outputs, 1)
    return nn.ModuleList(same_conv2d(*shape) for shape in shapes)
