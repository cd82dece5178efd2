"""pix2pix: translation learned from pairs."""

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    Batch,
    DataSpec,
    DiscriminatorObjective,
    GeneratorRegularizer,
    Loss,
    OptimizerConfig,
    Phase,
    Regularizer,
    Score,
    Trainer,
    TrainerConfig,
)
from ganzoo_plugins.networks.dcgan import initialize
from ganzoo_plugins.networks.patch import PatchDiscriminator
from ganzoo_plugins.networks.unet import UNet
from ganzoo_plugins.translation.domains import two_domains
from ganzoo_plugins.translation.networks import Translator

__all__ = ["Pix2Pix", "Pix2PixConfig"]


class Pix2PixConfig(TrainerConfig):
    """Settings of pix2pix."""

    width: int = Field(12, ge=1, description="channels of the generator's first map, doubled up to 8 times")
    depth: int | None = Field(
        None, ge=1, description="downsampling steps of the generator; left out: down to a map of 1 to 3 pixels"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="share of the generator's innermost maps that is dropped")
    discriminator_width: int = Field(32, ge=1, description="channels of the discriminator's first map")
    patch_layers: int = Field(
        2, ge=1, description="stride-2 layers in the discriminator: patches of 16, 34, 70 ... pixels"
    )
    l1_weight: float = Field(100.0, ge=0, description="weight of the distance from the translation to the truth")
    n_critic: int | None = Field(
        None, ge=1, description="discriminator steps for each generator step; left out: as in the paper of the loss"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1e-3), description="optimizer of generator and discriminator")
    discriminator_lr: float | None = Field(
        None, gt=0, description="learning rate of the discriminator, if not the generator's"
    )


class Pix2Pix(Trainer[Pix2PixConfig]):
    """Image-to-Image Translation with Conditional Adversarial Networks (arXiv:1611.07004).

    From ``a`` to ``b``: the generator minimizes L(D(a, G(a))) + l1_weight |G(a) - b|, the discriminator learns to
    distinguish pairs (a, b) from (a, G(a)), for each patch. The paper multiplies the discriminator's loss by 1/2; here
    ``discriminator_lr`` can be lowered instead. The paper keeps dropout on when it translates; here it is on in
    training only, so that an exported network is deterministic. The preset ``paper`` has the paper's networks for
    256x256, its batch size and its learning rate.

    Data has the domains ``a`` and ``b`` in pairs.
    """

    loss: Loss
    averaged = ("a_to_b",)
    defaults = {
        "steps": 10_000,
        "batch_size": 16,
        "ema": 0.995,
        "lr_schedule": "linear",
        "loss": {"name": "non_saturating"},
        "data": {"name": "shapes_styles", "paired": True},
    }
    presets = {
        "paper": {
            "steps": 80_000,
            "batch_size": 1,
            "ema": 0.999,
            "lr_schedule": "constant",
            "model": {
                "width": 64,
                "dropout": 0.5,
                "discriminator_width": 64,
                "patch_layers": 3,
                "optimizer": {"lr": 2e-4},
            },
        }
    }

    def __init__(
        self,
        config: Pix2PixConfig,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config, data, loss, regularizers)
        a, b = two_domains(self, paired=True).values()
        depth = config.depth or max(1, min(a.height, a.width).bit_length() - 1)
        body = UNet(a.channels, b.channels, config.width, depth, dropout=config.dropout)
        generator = Translator(body, a, b, 2**depth)
        discriminator = PatchDiscriminator((a, b), config.discriminator_width, config.patch_layers, norm="batch")
        self.networks = {"a_to_b": generator.apply(initialize), "discriminator": discriminator.apply(initialize)}
        self.generator, self.discriminator = generator, discriminator
        self.objective = DiscriminatorObjective(discriminator, loss, regularizers)
        rates = {"generator": None, "discriminator": config.discriminator_lr}
        for (name, rate), network in zip(rates.items(), self.networks.values(), strict=True):
            self.optimizers[name] = config.optimizer.build(network.parameters(), lr=rate, betas=self.loss.betas)

    def phases(self) -> Sequence[Phase]:
        """Discriminator, its lazy regularizers, generator."""
        return [
            *self.objective.phases(self._pair, repeat=self.config.n_critic),
            Phase("generator", self.generator_loss, updates=("a_to_b",)),
        ]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes."""
        a, b = batch["a"], batch["b"]
        fake = self.generator(a)
        real_scores = self.discriminator(a, b) if self.loss.needs_real else None
        # The discriminator sees the input as well: a sharp image that does not fit its input is a fake (section 3.1).
        adversarial = self.loss.generator(self.discriminator(a, fake), real_scores)
        # L1 blurs less than L2 (section 3.1). It enforces low frequencies, the patches the high ones (section 3.2.2).
        distance = nn.functional.l1_loss(fake, b)
        loss = adversarial + self.config.l1_weight * distance
        return {"loss": loss, "adversarial": adversarial.detach(), "l1": distance.detach()}

    def _pair(self, batch: Batch) -> tuple[Score, Tensor, Tensor]:
        a, real = batch["a"], batch["b"]
        with torch.no_grad():
            fake = self.generator(a)
        # The input is bound, so that regularizers take the gradient with respect to the output image alone.
        return lambda images: self.discriminator(a, images), real, fake
