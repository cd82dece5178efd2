"""R3GAN: the relativistic loss, both zero-centered penalties, and residual networks without any normalization."""

from typing import Any

from ganzoo import AdversarialTrainer, Discriminator, Generator, Image
from ganzoo_plugins.networks.r3gan import R3GANConfig, R3GANDiscriminator, R3GANGenerator

__all__ = ["R3GAN"]


def _authors(batch: int, gamma: float, widths: tuple[int, ...], half_life: float, augmented: float) -> dict[str, Any]:
    """Return settings of the authors' code, of which half-life and schedules are in images; gamma is the final one."""
    images, fall = 2.5e8, 2e7
    return {
        "steps": round(images / batch),
        "batch_size": batch,
        # Theirs rises from 0 along half a cosine while the rate falls; this is the line with the same ends.
        "ema": {"halflife": half_life, "rampup": half_life / fall},
        "lr_schedule": {"name": "cosine", "end": 0.25, "until": fall / images},
        "lr_warmup": 0,
        "regularizer": {key: {"weight": gamma, "interval": 1} for key in ("r1", "r2")},
        "model": {
            "widths": widths,
            "blocks": 2,
            "group": 16,
            "optimizer": {"lr": 2e-4, "betas": (0.0, 0.99)},
            "augment": {"policy": "ada", "probability": augmented, "ramp": round(fall)},
        },
    }


class R3GAN(AdversarialTrainer[R3GANConfig]):
    """The GAN is dead; long live the GAN! A Modern GAN Baseline (arXiv:2501.05441).

    The relativistic pairing loss with R1 and R2, and networks (configuration E) without normalization, injected noise,
    mapping network or minibatch statistics: residual blocks of grouped convolutions, bilinear resampling, and a learned
    basis for the smallest map, on either side. As in the paper, nothing bounds the generator's output; outside of
    training it is clamped to the range. A bounded activation saturates on black pixels, and the generator dies.

    The defaults are made for small images and a CPU: one block a stage, few channels, both penalties at every fourth
    step. The preset ``paper`` has the paper's CIFAR-10 settings (two blocks, groups of 16, the gamma that it starts
    with) at a third of its channels. ``cifar``, ``ffhq64`` and ``ffhq256`` have the authors' widths, batches and rates,
    which fall in the first 20 million images and then stay, while the chance of ``ada``'s augmentations rises. In that
    time the paper also lets gamma fall to a tenth and the second beta rise from 0.9 to 0.99; the presets have the final
    values from the start. Where training is unstable at first, take ten times the gamma, which the paper starts with.
    ``ffhq64`` and ``ffhq256`` are for a folder of images (``--data folder``), and run as long as ``cifar``, 250 million
    images.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows.
    """

    defaults = {
        "steps": 8_000,
        "batch_size": 32,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "relativistic"},
        "regularizer": {"r1": {"weight": 3.0, "interval": 4}, "r2": {"weight": 3.0, "interval": 4}},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "cifar": _authors(512, 0.005, (768,), 5e6, 0.55),
        "ffhq64": _authors(256, 0.2, (384, 768), 5e5, 0.3),
        "ffhq256": _authors(256, 15.0, (96, 192, 384, 768), 5e5, 0.3),
        "paper": {
            "steps": 40_000,
            "batch_size": 512,
            "ema": 0.999,
            "lr_schedule": "cosine",
            "lr_warmup": 0,
            "regularizer": {"r1": {"weight": 0.05, "interval": 1}, "r2": {"weight": 0.05, "interval": 1}},
            "model": {"widths": (256,), "blocks": 2, "group": 16, "optimizer": {"lr": 2e-4}},
        },
    }

    def build_generator(self, sample: Image) -> Generator:
        return R3GANGenerator(self.config, sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return R3GANDiscriminator(self.config, sample)
