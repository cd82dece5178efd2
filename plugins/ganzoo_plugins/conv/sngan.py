"""SNGAN: residual networks, the discriminator's weights divided by their spectral norm."""

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Discriminator,
    Generator,
    Image,
    Latent,
    OptimizerConfig,
    Scores,
    Signature,
    TrainerConfig,
)
from ganzoo.fields import Field as SampleField
from ganzoo_plugins.conv.blocks import UpBlock, image_only, num_downsamples, residual_features, tapered
from ganzoo_plugins.layers import output_activation, same_conv2d

__all__ = ["SNGAN", "SNGANConfig", "SNGANDiscriminator", "SNGANGenerator"]


class SNGANConfig(AdversarialConfig):
    """Settings of SNGAN."""

    width: int = Field(48, ge=1, description="channels of the generator's first map")
    discriminator_width: int = Field(48, ge=1, description="channels of the discriminator's last map")
    taper: bool = Field(True, description="halve the channels whenever the size doubles; the paper's stay the same")
    latent_dim: int = Field(128, ge=1, description="size of the latent")
    n_critic: int | None = Field(1, ge=1, description="discriminator steps a generator step")
    spectral_norm: bool = Field(
        True, description="divide the discriminator's weights by their spectral norm (arXiv:1802.05957)"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=5e-4, betas=(0.0, 0.9)), description="optimizer of both")
    discriminator_lr: float | None = Field(1e-3, gt=0, description="learning rate of the discriminator")


class SNGANGenerator(Generator):
    """Latent [N, L] to images: a linear layer, residual blocks that double the size, and a 3x3 convolution."""

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
        """Map [N, L] to [N, C, H, W]."""
        images: Tensor = self.body(z)
        return images


class SNGANDiscriminator(Discriminator):
    """Images to one score each: residual blocks, the sum of their features over the map, and a linear layer."""

    def __init__(self, width: int, taper: bool, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.features = residual_features(sample, width, taper=taper)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to scores [N]."""
        scores: Tensor = self.head(self.features(x).sum(dim=(2, 3))).squeeze(1)
        return scores


class SNGAN(AdversarialTrainer):
    """Spectral Normalization for Generative Adversarial Networks (arXiv:1802.05957): its residual networks for CIFAR.

    The generator has batch norm and as many blocks as the image is halved, the discriminator neither batch norm nor
    any weight whose spectral norm is not 1. The preset ``paper`` has the paper's widths, 256 and 128, five critic steps
    and its optimizer; at 32x32 it is the network of table 4. The defaults are narrower, and instead of taking several
    steps the discriminator has the higher learning rate.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows.
    """

    Config: ClassVar[type[TrainerConfig]] = SNGANConfig
    config: SNGANConfig
    defaults: ClassVar[Mapping[str, Any]] = {
        "steps": 5_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "hinge"},
        "data": {"name": "mnist5k"},
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
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

    def build_generator(self, sample: SampleField) -> Generator:
        """Return the generator."""
        config = self.config
        return SNGANGenerator(config.latent_dim, config.width, config.taper, image_only("sngan", sample))

    def build_discriminator(self, sample: SampleField) -> Discriminator:
        """Return the discriminator."""
        config = self.config
        return SNGANDiscriminator(config.discriminator_width, config.taper, image_only("sngan", sample))
