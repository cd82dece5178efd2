"""FastGAN in the form of lightweight-gan: few images, little time."""

from typing import Any

from torch import Tensor

from ganzoo import AdversarialTrainer, Batch, Discriminator, Generator, Image
from ganzoo_plugins.networks.lightweight import LightweightConfig, LightweightDiscriminator, LightweightGenerator

__all__ = ["LightweightGAN"]


class LightweightGAN(AdversarialTrainer[LightweightConfig]):
    """Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis (arXiv:2101.04775), in the
    form that lightweight-gan gave it, so that its weights can be imported.

    Small maps of the generator scale the channels of large ones (skip-layer excitation, from 128 pixels on), and the
    discriminator is regularized by having to decode its maps to the real images: the mean squared error of that,
    logged as ``reconstruction``, is added to its loss. What lightweight-gan changed: pixel shuffling instead of
    interpolation, noise, blurred resampling, a second score of a copy of 32x32 pixels, whose loss is added, R1 and R2
    at every fourth step, and no perceptual distance in the reconstruction.

    The defaults are small networks for a CPU. The preset ``paper`` has the widths, attention at 32x32 and rates of
    lightweight-gan; ``few_shot`` augments images besides (arXiv:2006.10738), for folders of a hundred to some thousand.

    Square images of any number of channels, of 32, 64, 128, 256, 512 or 1024 pixels a side.
    """

    pixel_range = (0.0, 1.0)
    discriminator: LightweightDiscriminator
    defaults = {
        "steps": 8_000,
        "batch_size": 32,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "hinge"},
        "regularizer": {"r1": {"weight": 2.5, "interval": 4}, "r2": {"weight": 2.5, "interval": 4}},
        "model": {"optimizer": {"lr": 1e-3, "betas": (0.5, 0.9)}},
        "data": {"name": "shapes"},
    }
    _paper: dict[str, Any] = {
        "steps": 150_000,
        "batch_size": 32,
        "ema": 0.9995,
        "lr_schedule": "constant",
        "lr_warmup": 0,
        "regularizer": {"r1": {"weight": 10.0, "interval": 4}, "r2": {"weight": 10.0, "interval": 4}},
        "model": {
            "latent_dim": 256,
            "channel_base": 4096,
            "channel_max": 512,
            "attention": (32,),
            "heads": 8,
            "head_dim": 64,
            "optimizer": {"lr": 2e-4},
        },
    }
    presets = {
        "paper": _paper,
        "few_shot": {
            **_paper,
            "model": {**_paper["model"], "augment": {"policy": ("color", "translation", "cutout"), "probability": 0.3}},
        },
    }

    def build_generator(self, sample: Image) -> Generator:
        return LightweightGenerator(self.config, sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return LightweightDiscriminator(self.config, sample)

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of both scores, the error of the reconstruction, and the weighted penalties."""
        real, fake, condition = self.pair(batch)
        shown = self.augmented(real)
        maps = self.discriminator.maps(shown)  # once, for scores and reconstruction
        real_scores, fake_scores = self.discriminator.scores(shown, maps), self.score(self.augmented(fake), condition)
        error = self.discriminator.reconstruction(shown, maps)
        # Scores of the map are many and of the copy one; each has a loss of its own, or the map would outweigh it.
        found = self.adversarial(real_scores[:, :-1], fake_scores[:, :-1], real, fake, condition)
        small = self.loss.discriminator(real_scores[:, -1], fake_scores[:, -1])
        return {**found, "loss": found["loss"] + small + error, "reconstruction": error.detach()}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of both scores and the weighted penalties."""
        real, condition = batch[self.data.sample.name], self.condition(batch)
        fake = self.score(self.shown(self.generate(len(real), condition)), condition)
        compared = self.score(self.shown(real), condition) if self.loss.needs_real else None
        whole = self.loss.generator(fake[:, :-1], None if compared is None else compared[:, :-1])
        small = self.loss.generator(fake[:, -1], None if compared is None else compared[:, -1])
        return self.with_penalties(whole + small, batch)
