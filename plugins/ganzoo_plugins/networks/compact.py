"""Compact convolutional networks: few layers, a quarter of the image's size at their smallest."""

from itertools import pairwise

from torch import Tensor, nn

from ganzoo import Discriminator, Generator, Image, Latent, Scores, Signature
from ganzoo_plugins.networks.layers import output_activation

__all__ = ["CompactCritic", "CompactGenerator", "stem_layers"]


class CompactGenerator(Generator):
    """Latent [N, L] to images [N, C, H, W].

    A linear layer to a quarter of the size, and two transposed convolutions up.
    """

    def __init__(self, latent_dim: int, width: int, stem: int | None, sample: Image) -> None:
        super().__init__(Signature((Latent((latent_dim,)),), sample))
        start = (4 * width, sample.height // 4, sample.width // 4)
        self.body = nn.Sequential(
            *stem_layers(latent_dim, stem, start),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * width, sample.channels, 4, stride=2, padding=1),
            output_activation(sample),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


class CompactCritic(Discriminator):
    """Images [N, C, H, W] to one score each, through three strided convolutions."""

    def __init__(self, width: int, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(
            nn.Conv2d(sample.channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Flatten(),
            nn.Linear(4 * width * (sample.height // 8) * (sample.width // 8), 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


def stem_layers(latent_dim: int, hidden: int | None, start: tuple[int, int, int]) -> list[nn.Module]:
    """Fully connected layers from a flat latent to the first feature map."""
    channels, height, width = start
    sizes = [latent_dim, *([] if hidden is None else [hidden]), channels * height * width]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2, inplace=True)]
    return [*layers[:-1], nn.Unflatten(1, start)]
