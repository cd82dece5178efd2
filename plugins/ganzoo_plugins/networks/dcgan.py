"""DCGAN's networks: transposed convolutions up, strided convolutions down, batch norm between."""

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from ganzoo import AdversarialConfig, Discriminator, Generator, Image, Latent, OptimizerConfig, Scores, Signature
from ganzoo_plugins.networks.layers import output_activation
from ganzoo_plugins.networks.sizes import num_downsamples

__all__ = ["DCGANConfig", "DCGANDiscriminator", "DCGANGenerator", "initialize", "strided"]

_MOST = 8


class DCGANConfig(AdversarialConfig):
    """Settings of DCGAN."""

    width: int = Field(
        32, ge=1, description="channels of the map next to the image, doubled with each downsampling, up to 8 times"
    )
    latent_dim: int = Field(100, ge=1, description="size of the latent")
    latent: Literal["normal", "uniform"] = Field("normal", description="distribution of the latent")
    batch_norm: Literal["both", "generator", "discriminator", "none"] = Field(
        "both", description="which networks have batch norm"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=2e-3, betas=(0.5, 0.9)), description="optimizer of both")


class DCGANGenerator(Generator):
    """Latent [N, L] to images [N, C, H, W].

    A linear layer to the start map, then transposed convolutions that double the size.
    """

    def __init__(self, latent: Latent, width: int, batch_norm: bool, sample: Image) -> None:
        super().__init__(Signature((latent,), sample))
        count, (height, breadth) = num_downsamples(sample)
        channels = _channels(width, count)[::-1]
        self.body = nn.Sequential(
            nn.Linear(latent.shape[0], channels[0] * height * breadth, bias=not batch_norm),
            nn.Unflatten(1, (channels[0], height, breadth)),
            *_normalized(channels[0], batch_norm, nn.ReLU()),
        )
        for before, after in pairwise(channels):
            self.body.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=not batch_norm))
            self.body.extend(_normalized(after, batch_norm, nn.ReLU(inplace=True)))
        self.body.append(nn.ConvTranspose2d(channels[-1], sample.channels, 4, stride=2, padding=1))
        self.body.append(output_activation(sample))
        self.apply(initialize)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


class DCGANDiscriminator(Discriminator):
    """Images [N, C, H, W] to one score each.

    Strided convolutions down to the start map, and a linear layer over the whole of it.
    """

    def __init__(self, width: int, batch_norm: bool, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()))
        layers, features = strided(sample, width, batch_norm)
        self.body = nn.Sequential(*layers, nn.Linear(features, 1))
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


def strided(sample: Image, width: int, batch_norm: bool) -> tuple[list[nn.Module], int]:
    """Return the discriminator's layers up to the flat start map, and how many features that has."""
    count, (height, breadth) = num_downsamples(sample)
    channels = _channels(width, count)
    layers: list[nn.Module] = [
        nn.Conv2d(sample.channels, channels[0], 4, stride=2, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    for before, after in pairwise(channels):
        layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not batch_norm))
        layers.extend(_normalized(after, batch_norm, nn.LeakyReLU(0.2, inplace=True)))
    return [*layers, nn.Flatten()], channels[-1] * height * breadth


def _channels(width: int, count: int) -> list[int]:
    """Channels of the maps from the one next to the image down to the start map."""
    return [width * min(2**index, _MOST) for index in range(count)]


def _normalized(channels: int, batch_norm: bool, activation: nn.Module) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), activation] if batch_norm else [activation]


def initialize(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02^2), those of batch norm from N(1, 0.02^2), and set biases to 0."""
    match module:
        case nn.Linear() | nn.Conv2d() | nn.ConvTranspose2d():
            nn.init.normal_(module.weight, 0.0, 0.02)
        case nn.BatchNorm2d():
            nn.init.normal_(module.weight, 1.0, 0.02)
        case _:
            return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
