"""The textbook's networks: those that the models of ganzoo have, as tutorials write them, from torch's layers alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]

# Every function returns the generator's and the discriminator's layers with their parameters in ganzoo's order, so that
# its initial weights can be copied.


def mlp(settings: Any, shape: Shape) -> tuple[nn.Module, nn.Module]:
    """Fully connected; the last layer of the generator is a sigmoid."""
    pixels, hidden = shape[0] * shape[1] * shape[2], settings.hidden

    def layers(widths: list[int], layer_norm: bool) -> list[nn.Module]:
        found: list[nn.Module] = []
        for before, after in pairwise(widths):
            found += [nn.Linear(before, after), *([nn.LayerNorm(after)] if layer_norm else []), nn.LeakyReLU(0.2)]
        return found

    generator = layers([settings.latent_dim, *hidden], settings.layer_norm != "none")
    discriminator = layers([pixels, *hidden], settings.layer_norm == "both")
    return (
        nn.Sequential(*generator, nn.Linear(hidden[-1], pixels), nn.Sigmoid(), nn.Unflatten(1, shape)),
        nn.Sequential(nn.Flatten(), *discriminator, nn.Linear(hidden[-1], 1)),
    )


def convolutional(settings: Any, shape: Shape) -> tuple[nn.Module, nn.Module]:
    """The WGAN-GP of the preset ``textbook``: 5x5 convolutions with layer norm over whole maps."""
    channels, h, w = shape[0], shape[1] // 4, shape[2] // 4
    return (
        nn.Sequential(
            nn.Conv2d(16, 128, 5, padding=2), nn.LayerNorm([128, h, w]), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.LayerNorm([64, 2 * h, 2 * w]), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 64, 5, padding=2), nn.LayerNorm([64, 2 * h, 2 * w]), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.LayerNorm([32, 4 * h, 4 * w]), nn.LeakyReLU(0.2),
            nn.Conv2d(32, channels, 5, padding=2), nn.Sigmoid(),
        ),
        nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2), nn.LayerNorm([32, 4 * h, 4 * w]), nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.LayerNorm([64, 2 * h, 2 * w]), nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
            nn.Conv2d(64, 128, 5, padding=2), nn.LayerNorm([128, h, w]), nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(2048, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1),
        ),
    )  # fmt: skip


def dcgan(settings: Any, shape: Shape) -> tuple[nn.Module, nn.Module]:
    """torch's DCGAN tutorial, with a linear layer to and from the smallest map, of 4 to 7 pixels a side."""
    side, count = shape[1], 0
    while side % 2 == 0 and side >= 8:
        side, count = side // 2, count + 1
    channels = [settings.width * min(2**index, 8) for index in range(count)]
    normed_g, normed_d = settings.batch_norm in ("both", "generator"), settings.batch_norm in ("both", "discriminator")

    def normalized(width: int, norm: bool, activation: nn.Module) -> list[nn.Module]:
        return [nn.BatchNorm2d(width), activation] if norm else [activation]

    start = channels[-1] * side * side
    generator = [
        nn.Linear(settings.latent_dim, start, bias=not normed_g),
        nn.Unflatten(1, (channels[-1], side, side)),
        *normalized(channels[-1], normed_g, nn.ReLU(True)),
    ]
    for before, after in pairwise(channels[::-1]):
        generator.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=not normed_g))
        generator += normalized(after, normed_g, nn.ReLU(True))
    discriminator = [nn.Conv2d(shape[0], channels[0], 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for before, after in pairwise(channels):
        discriminator.append(nn.Conv2d(before, after, 4, 2, 1, bias=not normed_d))
        discriminator += normalized(after, normed_d, nn.LeakyReLU(0.2, True))
    return (
        nn.Sequential(*generator, nn.ConvTranspose2d(channels[0], shape[0], 4, 2, 1), nn.Tanh()),
        nn.Sequential(*discriminator, nn.Flatten(), nn.Linear(start, 1)),
    )


def cyclegan(settings: Any, shape: Shape) -> tuple[nn.Module, nn.Module]:
    """One way's generator and one domain's discriminator, as CycleGAN's authors write them."""
    width, channels = settings.width, shape[0]

    def normalized(width: int) -> list[nn.Module]:
        return [nn.InstanceNorm2d(width), nn.ReLU(True)]

    body: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), *normalized(width)]
    for before in (width, 2 * width):
        body += [nn.Conv2d(before, 2 * before, 3, 2, 1), *normalized(2 * before)]
    body += [ResidualBlock(4 * width) for _ in range(settings.blocks)]
    for before in (4 * width, 2 * width):
        body += [nn.ConvTranspose2d(before, before // 2, 3, 2, 1, output_padding=1), *normalized(before // 2)]
    outputs = 2 * channels + 1 if settings.repaint else channels
    body += [nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7)]
    widths = [settings.discriminator_width * min(2**index, 8) for index in range(settings.patch_layers + 1)]
    patch = [nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for index, (before, after) in enumerate(pairwise(widths), start=1):
        patch.append(nn.Conv2d(before, after, 4, 2 if index < settings.patch_layers else 1, 1))
        patch += [nn.InstanceNorm2d(after)] if settings.patch_norm == "instance" else []
        patch.append(nn.LeakyReLU(0.2, True))
    return (
        Repaint(nn.Sequential(*body)) if settings.repaint else nn.Sequential(*body, nn.Tanh()),
        nn.Sequential(*patch, nn.Conv2d(widths[-1], 1, 4, 1, 1)),
    )


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(True),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class Repaint(nn.Module):
    """ganzoo's translator: adds to the image, places over it, and mixes the two by a mask."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        added, placed, mask = self.body(x).split([x.shape[1], x.shape[1], 1], dim=1)
        mask = mask.sigmoid()
        return (1 - mask) * torch.tanh(torch.atanh(0.98 * x) + added) + mask * torch.tanh(placed)
