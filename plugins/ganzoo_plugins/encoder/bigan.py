"""BiGAN: a discriminator of pairs teaches generator and encoder to be each other's inverse."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Batch, Loss, Phase, Score, UserError
from ganzoo_plugins.encoder.common import AutoencoderConfig, AutoencoderTrainer
from ganzoo_plugins.encoder.networks import PairDiscriminator

__all__ = ["BiGAN", "BiGANConfig"]


class BiGANConfig(AutoencoderConfig):
    """Settings of BiGAN."""

    hidden: int = Field(256, ge=1, description="width of the discriminator's layers that join images and latents")
    reconstruction_weight: float = Field(
        0.0, ge=0, description="weight of mean |G(E(x)) - x|, which the paper does without"
    )


class BiGAN(AutoencoderTrainer[BiGANConfig]):
    """Adversarial Feature Learning (arXiv:1605.09782); the same as Adversarially Learned Inference, arXiv:1606.00704.

    The discriminator learns to distinguish pairs (x, E(x)) from pairs (G(z), z). Encoder and generator are trained
    together against it: E's pairs should look generated, and G's should look real. At the optimum G and E are each
    other's inverse (theorem 2). This needs a loss that exchanges the roles of real and fake when all scores change
    their sign.
    """

    discriminator: PairDiscriminator
    players = {
        "discriminator": ("discriminator",),
        "generator": ("generator", "encoder"),
    }

    def build_discriminator(self) -> PairDiscriminator:
        """Return the discriminator of pairs; raises UserError for a loss that is not symmetric."""
        _check_symmetric(self.loss)
        return PairDiscriminator(self.image, self.latent, self.config.width, self.config.hidden)

    def phases(self) -> Sequence[Phase]:
        """Discriminator, its lazy regularizers, generator and encoder."""
        return [
            *self.objective.phases(self._pair),
            Phase("generator", self.generator_loss, updates=("generator", "encoder")),
        ]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what generator and encoder minimize."""
        x = batch[self.data.sample.name]
        z, code = self.prior(x), self.encoder(x)
        real, fake = self.discriminator(x, code), self.discriminator(self.generator(z), z)
        if self.loss.needs_real:
            loss = self.loss.generator(fake, real)  # it has gradients in both scores already
        else:
            # The encoder's pairs have the real role, so for them the generator's loss applies to minus the score.
            loss = self.loss.generator(fake, None) + self.loss.generator(-real, None)
        if not self.config.reconstruction_weight:
            return {"loss": loss}
        error = (self.generator(code) - x).abs().mean()
        return {"loss": loss + self.config.reconstruction_weight * error, "reconstruction": error.detach()}

    def _pair(self, batch: Batch) -> tuple[Score, Tensor, Tensor]:
        """Return the score of images and latents laid flat beside each other, and real and generated ones."""
        x = batch[self.data.sample.name]
        z = self.prior(x)
        # Regularizers take one tensor for each side, so a pair is one flat row: gradients and points between real and
        # fake cover the image and its latent together.
        with torch.no_grad():
            real, fake = _join(x, self.encoder(x)), _join(self.generator(z), z)

        def score(pairs: Tensor) -> Tensor:
            images, latents = pairs.split([self.image.channels * x[0, 0].numel(), z.shape[1]], dim=1)
            return self.discriminator(images.unflatten(1, x.shape[1:]), latents)

        return score, real, fake


def _join(x: Tensor, z: Tensor) -> Tensor:
    return torch.cat([x.flatten(1), z], dim=1)


def _check_symmetric(loss: Loss) -> None:
    # Tried on numbers, since a loss of another plugin cannot say it; a generator of its own keeps the random state.
    real, fake = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    if not torch.allclose(loss.discriminator(real, fake), loss.discriminator(-fake, -real), atol=1e-5):
        raise UserError(
            "bigan needs a loss that treats real and generated pairs alike, and this one does not; take "
            "non_saturating, hinge, wgan_gp or relativistic"
        )
