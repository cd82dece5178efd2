"""StyleGAN3: a generator whose layers treat maps as continuous signals, so that details do not stick to pixels."""

from typing import Any, ClassVar

from ganzoo import Generator, Image
from ganzoo_plugins.networks.stylegan3 import StyleGAN3Config, StyleGAN3Generator
from ganzoo_plugins.style.stylegan2 import StyleGAN2

__all__ = ["StyleGAN3"]


class StyleGAN3(StyleGAN2):
    """Alias-Free Generative Adversarial Networks (arXiv:2106.12423).

    The generator begins with Fourier features that a style turns and moves, and each of its layers keeps its map below
    a cutoff that rises from layer to layer: nonlinearities are computed at twice the rate and filtered behind it. So an
    image that is moved is moved whole (configuration T), or with ``model.rotation`` turned too (configuration R).
    There is no noise, no style mixing and no path length regularization; discriminator, loss, lazy R1 and its gamma are
    those of :class:`StyleGAN2`.

    The defaults are small networks for a CPU with fewer layers and a smaller margin than the paper's. The preset
    ``paper256`` has the authors' settings for a folder of images of 256x256, of which 25 million are seen. For
    configuration R their code also blurs what the discriminator sees at first; that is not done here.

    Square images of any number of channels, of 16x16, 32x32, 64x64 and so on. Batches are multiples of
    ``model.deviation_group``.
    """

    Config: ClassVar[type[Any]] = StyleGAN3Config
    config: StyleGAN3Config
    defaults = {
        "steps": 10_000,
        "batch_size": 32,
        "ema": 0.998,
        "loss": {"name": "non_saturating"},
        "regularizer": {"r1": {"weight": 1.0, "interval": 16}},
        "data": {"name": "shapes", "condition": "none"},
    }
    presets = {
        "paper256": {
            "steps": 781_250,
            "batch_size": 32,
            "ema": {"halflife": 10_000, "rampup": 0.05},
            "regularizer": {"r1": {"weight": 2.0, "interval": 16}},
            "model": {
                "latent_dim": 512,
                "style_dim": 512,
                "channel_base": 32768,
                "channel_max": 512,
                "layers": 14,
                "margin": 10,
                "magnitude_decay": 0.9989,
            },
        },
    }

    def build_generator(self, sample: Image) -> Generator:
        return StyleGAN3Generator(self.config, sample, self.conditions)
