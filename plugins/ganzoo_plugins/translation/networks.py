"""The networks of image to image models: residual and U-shaped generators, and the discriminator of patches."""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ganzoo import Discriminator, Image, Mask, Network, Scores, Signature, UserError, widened
from ganzoo_plugins.layers import output_activation

__all__ = ["PatchDiscriminator", "ResNet", "Translator", "UNet"]


class Translator(Network):
    """An image of one domain to the image of another: a body without its output's activation, and that.

    ``multiple`` is what height and width are multiples of; images of any such size are taken. With ``repaint`` the body
    draws three things: what to add to the image, what to put in its place, and a mask that mixes the two,

        (1 - m) tanh(artanh(0.98 x) + added) + m tanh(placed),  m = sigmoid(mask).

    So it need not draw what stays, and erases with one color whatever had another; 0.98 leaves black and white within
    reach. GANimation (arXiv:1807.09251, section 4.1) mixes the image itself with what is drawn: then a mask that closes
    before anything worth drawing is learnt never opens again.
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
        """Map [N, C, H, W] to [N, C', H, W]."""
        drawn = widened(self.body(x))
        if not self.repaint:
            images: Tensor = self.activation(drawn)
            return images
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
    """Two 3x3 convolutions with reflection padding and instance norm, added to what goes in; no ReLU behind."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *_normalized(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        added: Tensor = x + self.inner(x)
        return added


class UNet(nn.Module):
    """pix2pix's generator without its tanh (arXiv:1611.07004, appendix 6.1).

    4x4 convolutions of stride 2 down, ``depth`` of them, and as many transposed ones up, each of which is given the map
    of its size from the way down beside its own, unless ``skips`` is off: DiscoGAN's encoder and decoder. Batch norm
    but at the first and the innermost; leaky ReLU down, ReLU up; dropout after the three innermost on the way up, in
    training alone: the paper leaves it on for noise, but a network that is exported draws none. With a ``latent`` of so
    many numbers, they stand beside the innermost map, at every place of it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        depth: int,
        *,
        dropout: float = 0.0,
        skips: bool = True,
        latent: int = 0,
    ) -> None:
        super().__init__()
        self.skips = skips
        widths = [width * min(2**index, 8) for index in range(depth)]
        self.down = nn.ModuleList([nn.Conv2d(inputs, widths[0], 4, stride=2, padding=1)])
        for index, (before, after) in enumerate(pairwise(widths), start=2):
            norm = [nn.BatchNorm2d(after)] if index < depth else []
            self.down.append(nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(before, after, 4, stride=2, padding=1), *norm))
        self.up = nn.ModuleList()
        for index, (after, before) in enumerate(reversed(list(pairwise(widths)))):
            beside = latent if index == 0 else before * skips
            self.up.append(
                nn.Sequential(
                    nn.ReLU(),
                    nn.ConvTranspose2d(before + beside, after, 4, stride=2, padding=1),
                    nn.BatchNorm2d(after),
                    *([nn.Dropout(dropout)] if dropout and index < 3 else []),
                )
            )
        beside = widths[0] * skips if depth > 1 else latent
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(widths[0] + beside, outputs, 4, stride=2, padding=1))

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Map [N, C, H, W], and with a latent [N, L], to [N, C', H, W]."""
        maps = []
        for layer in self.down:
            x = layer(x)
            maps.append(x)
        maps.pop()
        if z is not None:
            # Spread by adding: expanded, the exported graph computes a size, and nobody can tell it without a run.
            x = torch.cat([x, z[:, :, None, None] + torch.zeros_like(x[:, :1])], dim=1)
        for layer in self.up:
            x = layer(x)
            before = maps.pop()
            if self.skips:
                x = torch.cat([x, before], dim=1)
        images: Tensor = self.last(x)
        return images


class PatchDiscriminator(Discriminator):
    """Images to a map of scores, one for each patch (arXiv:1611.07004, section 3.2.2).

    4x4 convolutions: ``layers`` of stride 2, with twice as many channels each, and two of stride 1; leaky ReLU, and a
    ``norm`` but at the first and the last. Three layers see patches of 70x70 pixels as in the paper, two 34x34, one
    16x16. Images that are judged together, such as an input and its translation or an image and its mask, are joined
    along their channels.
    """

    def __init__(
        self, images: tuple[Image | Mask, ...], width: int, layers: int, norm: Literal["instance", "batch", "none"]
    ) -> None:
        super().__init__(Signature(images, Scores()))
        smallest = 2 ** (layers + 2)
        if min(min(image.shape[1:]) for image in images) < smallest:
            raise UserError(
                f"a discriminator of {layers} layers needs images of at least {smallest}x{smallest}; lower "
                "model.patch_layers"
            )
        channels = [width * min(2**index, 8) for index in range(layers + 1)]
        body: list[nn.Module] = [
            nn.Conv2d(sum(image.shape[0] for image in images), width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for index, (before, after) in enumerate(pairwise(channels), start=1):
            stride = 2 if index < layers else 1
            body.append(nn.Conv2d(before, after, 4, stride=stride, padding=1))
            if norm != "none":
                body.append(nn.BatchNorm2d(after) if norm == "batch" else nn.InstanceNorm2d(after))
            body.append(nn.LeakyReLU(0.2, inplace=True))
        self.body = nn.Sequential(*body, nn.Conv2d(channels[-1], 1, 4, padding=1))

    def forward(self, *images: Tensor) -> Tensor:
        """Map images [N, C, H, W] to scores [N, 1, h, w]."""
        scores: Tensor = self.body(torch.cat(images, dim=1) if len(images) > 1 else images[0])
        return scores


def _normalized(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
