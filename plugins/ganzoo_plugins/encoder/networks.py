"""The networks of models with encoders: an encoder, and discriminators of codes, of pairs and with features."""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ganzoo import Discriminator, Image, Latent, Network, Scores, Signature, widened
from ganzoo_plugins.networks.dcgan import initialize, strided

__all__ = ["CodeDiscriminator", "Encoder", "FeatureDiscriminator", "PairDiscriminator"]


class Encoder(Network):
    """Images to latents: the layers of DCGAN's discriminator, with an output for each number of the latent.

    With ``spread`` it also predicts a variance (:meth:`moments`). A call returns the mean.
    """

    def __init__(self, image: Image, latent: Latent, width: int, *, spread: bool = False) -> None:
        super().__init__(Signature((image,), latent))
        layers, features = strided(image, width, True)
        size = prod(latent.shape)
        self.body = nn.Sequential(*layers)
        self.mean = nn.Linear(features, size)
        self.log_variance = nn.Linear(features, size) if spread else None
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to latents [N, ...]."""
        return self.mean(self.body(x)).unflatten(1, self.signature.output.shape)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, C, H, W] to mean and logarithm of the variance, [N, L] each."""
        assert self.log_variance is not None
        features = self.body(x)
        return widened(self.mean(features)), widened(self.log_variance(features))


class CodeDiscriminator(Discriminator):
    """Latents [N, ...] to one score each: a multi-layer perceptron."""

    def __init__(self, latent: Latent, width: int) -> None:
        super().__init__(Signature((latent,), Scores()))
        sizes = (prod(latent.shape), width, width)
        self.body = nn.Sequential(nn.Flatten())
        for before, after in pairwise(sizes):
            self.body.extend([nn.Linear(before, after), nn.LeakyReLU(0.2, inplace=True)])
        self.body.append(nn.Linear(width, 1))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).squeeze(1)


class PairDiscriminator(Discriminator):
    """Images with their latents to one score for each pair (arXiv:1605.09782, section 3)."""

    def __init__(self, image: Image, latent: Latent, width: int, hidden: int) -> None:
        super().__init__(Signature((image, latent), Scores()))
        layers, features = strided(image, width, False)
        self.image = nn.Sequential(*layers)
        self.latent = nn.Sequential(
            nn.Flatten(), nn.Linear(prod(latent.shape), hidden), nn.LeakyReLU(0.2, inplace=True)
        )
        self.head = nn.Sequential(
            nn.Linear(features + hidden, hidden), nn.LeakyReLU(0.2, inplace=True), nn.Linear(hidden, 1)
        )

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Map [N, C, H, W] and [N, ...] to scores [N]."""
        return self.head(torch.cat([self.image(x), self.latent(z)], dim=1)).squeeze(1)


class FeatureDiscriminator(Discriminator):
    """Images [N, C, H, W] to one score each; ``features`` returns the map that the score is computed from."""

    def __init__(self, image: Image, width: int) -> None:
        super().__init__(Signature((image,), Scores()))
        layers, features = strided(image, width, False)
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(features, 1)
        self.apply(initialize)

    def features(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the last map, flat [N, F]."""
        return widened(self.body(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).squeeze(1)
