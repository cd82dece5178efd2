"""SNGAN: residual networks, the discriminator's weights divided by their spectral norm."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ganzoo import AdversarialTrainer, Discriminator, Generator, Image, Latent, Scores, Signature
from ganzoo_plugins.networks.layers import output_activation, same_conv2d
from ganzoo_plugins.networks.resnet import SNGANConfig, UpBlock, residual_features, tapered
from ganzoo_plugins.networks.sizes import num_downsamples

__all__ = ["SNGAN", "SNGANDiscriminator", "SNGANGenerator"]


class SNGANGenerator(Generator):
    """Latent [N, L] to images [N, C, H, W].

    A linear layer, residual blocks that double the size, and a 3x3 convolution.
    """

    def __init__(self, latent_dim: int, width: int, taper: bool, sample: Image) -> None:
        super().__init__(Signature((Latent((latent_dim,)),), sample))
        count, (height, breadth) = num_downsamples(sample)
        widths = tapered(width, count + 1) if taper else [width] * (count + 1)
        start = (width, height, breadth)
        self.body = nn.Sequential(
            nn.Linear(latent_dim, prod(start)),
            nn.Unflatten(1, start),
            *[UpBlock(before, after) for before, after in pairwise(widths)],
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(inplace=True),
            same_conv2d(widths[-1], sample.channels, 3),
            output_activation(sample),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


class SNGANDiscriminator(Discriminator):
    """Images [N, C, H, W] to one score each.

    Residual blocks, the sum of their features over the map, and a linear layer.
    """

    def __init__(self, width: int, taper: bool, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.features = residual_features(sample, width, taper=taper)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).sum(dim=(2, 3))).squeeze(1)


class SNGAN(AdversarialTrainer[SNGANConfig]):
    """Spectral Normalization for Generative Adversarial Networks (arXiv:1802.05957): its residual networks for CIFAR.

    The generator has batch norm and a block for each upsampling step, the discriminator neither batch norm nor
    any weight whose spectral norm is not 1. The preset ``paper`` has the paper's widths, 256 and 128, five critic steps
    and its optimizer; at 32x32 it is the network of table 4. The defaults are narrower, and instead of taking several
    steps the discriminator has the higher learning rate.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows.
    """

    defaults = {
        "steps": 5_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "hinge"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "paper": {
            "steps": 50_000,
            "batch_size": 64,
            "ema": 0.999,
            "lr_schedule": "linear",
            "lr_warmup": 0,
            "model": {
                "width": 256,
                "discriminator_width": 128,
                "taper": False,
                "n_critic": 5,
                "optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.0, 0.9)},
                "discriminator_lr": 2e-4,
            },
        }
    }

    def build_generator(self, sample: Image) -> Generator:
        config = self.config
        return SNGANGenerator(config.latent_dim, config.width, config.taper, sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        config = self.config
        return SNGANDiscriminator(config.discriminator_width, config.taper, sample)
