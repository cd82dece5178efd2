"""DCGAN: transposed convolutions up, strided convolutions down, batch norm between; LSGAN is the same with its loss."""

from ganzoo import AdversarialTrainer, Discriminator, Generator, Image, Latent
from ganzoo_plugins.networks.dcgan import DCGANConfig, DCGANDiscriminator, DCGANGenerator

__all__ = ["DCGAN"]


class DCGAN(AdversarialTrainer[DCGANConfig]):
    """Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (arXiv:1511.06434).

    ReLU in the generator, leaky ReLU in the discriminator, tanh; weights start at N(0, 0.02^2), those of batch norm at
    N(1, 0.02^2), as in the authors' code. Kernels are 4x4 as in that code, not 5x5 as in the paper, and the latent is
    normal as in its examples. The paper has batch norm everywhere but at the generator's output and the
    discriminator's input; here the discriminator has the penalty R1 (arXiv:1801.04406) in its place: with batch norm it
    soon tells nearly all real images from drawn ones, and a third of the digits stay strange. The preset ``paper`` is
    the paper's model: batch norm in both, a uniform latent, figure 1's channels for the generator, 1024, 512, 256 and
    128 at 64x64, and their mirror image for the discriminator.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows.
    """

    defaults = {
        "steps": 14_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "non_saturating"},
        "regularizer": {"r1": {"weight": 1.5, "interval": 4}},
        "model": {"batch_norm": "generator"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "paper": {
            "steps": 50_000,
            "batch_size": 128,
            "ema": 0.999,
            "lr_schedule": "constant",
            "lr_warmup": 0,
            "regularizer": {"r1": {"weight": 0.0}},
            "model": {
                "batch_norm": "both",
                "width": 128,
                "latent": "uniform",
                "optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)},
            },
        }
    }

    def build_generator(self, sample: Image) -> Generator:
        config = self.config
        latent = Latent((config.latent_dim,), config.latent)
        return DCGANGenerator(latent, config.width, config.batch_norm in ("both", "generator"), sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        batch_norm = self.config.batch_norm in ("both", "discriminator")
        return DCGANDiscriminator(self.config.width, batch_norm, sample)
