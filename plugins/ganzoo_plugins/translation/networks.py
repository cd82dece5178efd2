"""The networks of image to image models: a translator with any body, and CycleGAN's residual body."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ganzoo import Image, Network, Signature, UserError, widened
from ganzoo_plugins.networks.layers import InstanceNorm2d, output_activation

__all__ = ["ResNet", "Translator"]


class Translator(Network):
    """An image [N, C, H, W] of one domain to the image [N, C', H, W] of another.

    It is a body followed by the activation of the output. Images of any size are accepted whose height and width are
    multiples of ``multiple``. With ``repaint`` the body returns three things: what to add to the image, what to put in
    its place, and a mask that mixes the two,

        (1 - m) tanh(artanh(0.98 x) + added) + m tanh(placed),  m = sigmoid(mask).

    So it need not draw what stays the same, and can replace a region by one color. The factor 0.98 keeps artanh finite
    for black and white. GANimation (arXiv:1807.09251, section 4.1) mixes the image itself with what is drawn. There, a
    mask that closes early gives the drawn part no gradient, and never opens again.
    """

    def __init__(self, body: nn.Module, source: Image, target: Image, multiple: int, *, repaint: bool = False) -> None:
        if source.height % multiple or source.width % multiple:
            raise UserError(
                f"this network takes images whose height and width are multiples of {multiple}, not "
                f"{source.height}x{source.width}; resize them, as with --set data.size={8 * multiple}"
            )
        super().__init__(Signature((replace(source, multiple=multiple),), replace(target, multiple=multiple)))
        self.body, self.repaint = body, repaint
        self.activation = output_activation(target)

    def forward(self, x: Tensor) -> Tensor:
        drawn = widened(self.body(x))
        if not self.repaint:
            return self.activation(drawn)
        # In the space before tanh an addition cannot leave the value range, and adding zero keeps the image.
        channels = x.shape[1]
        added, placed, mask = drawn.split([channels, channels, 1], dim=1)
        return torch.lerp(self.activation(torch.atanh(0.98 * x) + added), self.activation(placed), mask.sigmoid())


class ResNet(nn.Sequential):
    """CycleGAN's generator without its tanh (arXiv:1703.10593, appendix 7.2), after Johnson et al. (arXiv:1603.08155).

    A 7x7 convolution, two 3x3 convolutions of stride 2, residual blocks, two transposed convolutions of stride 2 and a
    7x7 convolution; instance norm and ReLU; reflection padding. Heights and widths are multiples of 4.
    """

    multiple = 4

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7), *_normalized(width)]
        for factor in (2, 4):
            layers += [nn.Conv2d(factor * width // 2, factor * width, 3, stride=2, padding=1)]
            layers += _normalized(factor * width)
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for factor in (2, 1):
            layers += [
                nn.ConvTranspose2d(2 * factor * width, factor * width, 3, stride=2, padding=1, output_padding=1),
                *_normalized(factor * width),
            ]
        super().__init__(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with reflection padding and instance norm, added to the input; no ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *_normalized(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _normalized(channels: int) -> list[nn.Module]:
    return [InstanceNorm2d(channels), nn.ReLU(inplace=True)]
