"""ProGAN: networks that grow from the smallest resolution to that of the data."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from torch import Tensor

from ganzoo import (
    AdversarialTrainer,
    Batch,
    DataSpec,
    Discriminator,
    Generator,
    GeneratorRegularizer,
    Image,
    Loss,
    Regularizer,
)
from ganzoo_plugins.networks.progan import (
    ProGANConfig,
    ProGANDiscriminator,
    ProGANGenerator,
    enlarged,
    mixed,
    reduced,
)

__all__ = ["ProGAN"]


class ProGAN(AdversarialTrainer[ProGANConfig]):
    """Progressive Growing of GANs for Improved Quality, Stability, and Variation (arXiv:1710.10196).

    Both networks begin with images of about 4x4 and get a level for each doubling of the size. A level is faded in over
    ``model.fade`` images, and then trained over ``model.stable`` images: the generator's image, the discriminator's
    first map and the real images go from the old resolution to the new one. Weights are scaled at run time, the
    generator's maps have pixel norm, the discriminator sees the minibatch deviation; the loss is WGAN-GP with a drift
    term. When a fade begins and when it ends, the optimizers start afresh, as in the authors' code.

    Images have the size of the data from the start: those of a smaller level are enlarged (each pixel becomes a
    square) and the discriminator reduces what it is given, so that in the middle of a fade too the generator is
    sampled, averaged and exported as it is. The defaults are small networks for a CPU, which see few images and so
    learn at five times the paper's rate. The preset ``paper`` is the authors' schedule and network, of 23.1 million
    weights each at 1024x1024; its batches are the paper's for up to 128x128, and stay so large (the paper's shrink to 3
    at 1024x1024). The schedule counts images, ``batch_size`` times ``accumulate`` a step. ``steps`` should be enough
    for all levels: in the preset 2 n times 600,000 images for n doublings, and what the last level is to see alone.
    Without ``model.progressive`` there are all levels from the start, as for weights that have grown elsewhere.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows. Batches are multiples of
    ``model.deviation_group``.
    """

    generator: ProGANGenerator
    discriminator: ProGANDiscriminator
    defaults = {
        "steps": 7_000,
        "batch_size": 32,
        "ema": 0.998,
        "loss": {"name": "wgan_gp", "drift": 1e-3},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "paper": {
            "steps": 750_000,
            "batch_size": 16,
            "ema": 0.999,
            "model": {
                "latent_dim": 512,
                "channel_base": 16_384,
                "channel_max": 512,
                "stable": 600_000,
                "fade": 600_000,
                "optimizer": {"lr": 1e-3},
            },
        },
    }

    def __init__(
        self,
        config: ProGANConfig,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config, data, loss, regularizers)
        self.batch_multiple = config.pack * config.deviation_group

    def build_generator(self, sample: Image) -> Generator:
        return ProGANGenerator(self.config, sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return ProGANDiscriminator(self.config, sample)

    @cached_property
    def stages(self) -> Sequence[int]:  # type: ignore[override]
        """The steps in which a level's fade begins or ends, in turns."""
        if not self.config.progressive:
            return []
        steps, images = [0], 0
        for _ in range(self.generator.count):
            for more in (self.config.stable, self.config.fade):
                images += more
                steps.append(max(round(images / self.samples_per_step), steps[-1] + 1))
        return steps[1:]

    def grow(self, stage: int) -> None:
        """Begin to fade a level in, or end it; either way the optimizers forget what they have gathered."""
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            if stage % 2:
                network.settle()
            else:
                network.grow()
            self.optimizers[name] = self.optimizer_settings(name).build(network.parameters())

    def discriminator_loss(self, batch: Batch, step: Tensor | None = None) -> dict[str, Tensor]:
        """Return what the discriminator minimizes; the phase that opens a step moves the fade on."""
        if self.stage % 2 and step is not None:
            first, end = self.stages[self.stage - 1 : self.stage + 1]
            share = ((step + 1 - first) / (end - first)).clamp(0, 1)
            for network in (self.generator, self.discriminator):
                network.alpha.copy_(share)
        return super().discriminator_loss(batch)

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes; relativistic losses compare with faded images."""
        return super().generator_loss(self.faded(batch))

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Return real samples, faded as the generated ones are, and these."""
        return super().pair(self.faded(batch))

    def faded(self, batch: Batch) -> Batch:
        """Return the batch with its images at the newest level's resolution, their details as far as faded in."""
        name, network = self.data.sample.name, self.generator
        images = reduced(batch[name], network.factor)
        if self.stage % 2:
            images = mixed(enlarged(reduced(images, 2), 2), images, network.alpha)
        return {**batch, name: enlarged(images, network.factor)}
