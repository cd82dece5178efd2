"""The adversarial autoencoder: a discriminator makes the codes of images a normal distribution."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Batch, Phase, Score
from ganzoo_plugins.encoder.common import AutoencoderTrainer, ConditionalAutoencoderConfig
from ganzoo_plugins.encoder.networks import CodeDiscriminator

__all__ = ["AAE", "AAEConfig"]


class AAEConfig(ConditionalAutoencoderConfig):
    """Settings of the adversarial autoencoder."""

    latent_dim: int = Field(16, ge=1, description="size of the latent")
    hidden: int = Field(256, ge=1, description="width of the discriminator of codes")
    adversarial_weight: float = Field(
        0.02, ge=0, description="weight of the adversarial loss, relative to the mean squared error of the autoencoder"
    )


class AAE(AutoencoderTrainer[AAEConfig]):
    """Adversarial Autoencoders (arXiv:1511.05644), with a deterministic encoder.

    Encoder and generator (the paper's decoder) minimize mean (G(E(x)) - x)^2; the discriminator learns to distinguish
    latents of the prior from codes, and the encoder learns to prevent that. The paper alternates between the two
    objectives with a learning rate for each; here the encoder minimizes their weighted sum in one step. The setting
    ``conditional`` is the paper's section 4: the generator is given the label, so codes represent the style alone.
    """

    discriminator: CodeDiscriminator
    players = {
        "discriminator": ("discriminator",),
        "autoencoder": ("generator", "encoder"),
    }

    def build_discriminator(self) -> CodeDiscriminator:
        """Return the discriminator of codes."""
        return CodeDiscriminator(self.latent, self.config.hidden)

    def phases(self) -> Sequence[Phase]:
        """Discriminator of codes, its lazy regularizers, autoencoder."""
        return [
            *self.objective.phases(self._pair),
            Phase("autoencoder", self.autoencoder_loss, updates=("generator", "encoder")),
        ]

    def autoencoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what encoder and generator minimize."""
        x = batch[self.data.sample.name]
        code = self.encoder(x)
        error = (self.generator(code, *self.condition(batch)) - x).square().mean()
        # The prior's latents are the real samples here, and the codes the fake ones.
        real_scores = self.discriminator(self.prior(x)) if self.loss.needs_real else None
        adversarial = self.loss.generator(self.discriminator(code), real_scores)
        loss = error + self.config.adversarial_weight * adversarial
        return {"loss": loss, "reconstruction": error.detach(), "adversarial": adversarial.detach()}

    def _pair(self, batch: Batch) -> tuple[Score, Tensor, Tensor]:
        x = batch[self.data.sample.name]
        with torch.no_grad():
            return self.discriminator, self.prior(x), self.encoder(x)
