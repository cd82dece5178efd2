"""VAE/GAN: an autoencoder whose errors are measured in a discriminator's features."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Batch, Phase, Score
from ganzoo_plugins.encoder.common import AutoencoderTrainer, ConditionalAutoencoderConfig
from ganzoo_plugins.encoder.networks import FeatureDiscriminator

__all__ = ["VAEGAN", "VAEGANConfig"]


class VAEGANConfig(ConditionalAutoencoderConfig):
    """Settings of VAE/GAN."""

    prior_weight: float = Field(
        0.02, ge=0, description="weight of the mean divergence of codes from the prior, over the numbers of the latent"
    )
    feature_weight: float = Field(
        1.0, ge=0, description="weight of the squared error in the discriminator's features (gamma), for the generator"
    )
    pixel_weight: float = Field(0.0, ge=0, description="weight of mean |G(E(x)) - x|, which the paper does without")


class VAEGAN(AutoencoderTrainer[VAEGANConfig]):
    """Autoencoding beyond pixels using a learned similarity metric (arXiv:1512.09300, algorithm 1).

    With codes z ~ N(mu(x), sigma^2(x)), latents from the prior, and the features f of the discriminator:

        encoder:        prior_weight KL(z | prior) / L + mean (f(G(z)) - f(x))^2
        generator:      feature_weight mean (f(G(z)) - f(x))^2 + adversarial loss on G(z) and on G(latents)
        discriminator:  adversarial loss on x against both.

    The encoder that is exported returns mu(x). With the setting ``conditional`` G is given the labels of x beside z, as
    in CVAE-GAN (arXiv:1703.10155), but without that paper's classifier.
    """

    spread = True
    discriminator: FeatureDiscriminator
    players = {name: (name,) for name in ("discriminator", "encoder", "generator")}
    defaults = {**AutoencoderTrainer.defaults, "steps": 6_000}

    def build_discriminator(self) -> FeatureDiscriminator:
        """Return the discriminator of images, whose features measure errors."""
        return FeatureDiscriminator(self.image, self.config.width)

    def phases(self) -> Sequence[Phase]:
        """Discriminator, its lazy regularizers, encoder, generator."""
        return [
            *self.objective.phases(self._pair),
            Phase("encoder", self.encoder_loss, updates=("encoder",)),
            Phase("generator", self.generator_loss, updates=("generator",)),
        ]

    def encoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the encoder minimizes."""
        x = batch[self.data.sample.name]
        mean, log_variance = self.encoder.moments(x)
        # KL(N(mu, sigma^2) || N(0, 1)) in closed form; a mean over the latent's numbers, so that the weight does not
        # depend on its size.
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
        drawn = self.generator(self._drawn(mean, log_variance), *self.condition(batch))
        error = self._error(drawn, x)
        loss = self.config.prior_weight * divergence + error
        return {"loss": loss, "divergence": divergence.detach(), "features": error.detach()}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes."""
        x = batch[self.data.sample.name]
        with torch.no_grad():
            codes = self._drawn(*self.encoder.moments(x))
        # Two kinds of samples: reconstructions, and samples of the prior as they are drawn in use. Codes have no
        # gradient here, so the adversarial loss does not train the encoder (algorithm 1).
        condition = self.condition(batch)
        returned, drawn = self.generator(codes, *condition), self.generator(self.prior(x), *condition)
        real_scores = self.discriminator(x) if self.loss.needs_real else None
        adversarial = [self.loss.generator(self.discriminator(images), real_scores) for images in (returned, drawn)]
        error = self._error(returned, x)
        loss = self.config.feature_weight * error + (adversarial[0] + adversarial[1]) / 2
        return {"loss": loss, "features": error.detach()}

    def _error(self, drawn: Tensor, x: Tensor) -> Tensor:
        """Return the squared error in features, and the weighted one in pixels."""
        error = (self.discriminator.features(drawn) - self.discriminator.features(x)).square().mean()
        if self.config.pixel_weight:
            error = error + self.config.pixel_weight * (drawn - x).abs().mean()
        return error

    def _drawn(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        # Reparametrized: the noise is separate, so mean and variance have gradients.
        return mean + (log_variance / 2).exp() * torch.randn_like(mean)

    def _pair(self, batch: Batch) -> tuple[Score, Tensor, Tensor]:
        """Return real images, and generated ones: half from codes and half from the prior."""
        x = batch[self.data.sample.name]
        with torch.no_grad():
            codes = self._drawn(*self.encoder.moments(x))
            # As many fakes as real images, since regularizers pair them; so both kinds share the batch.
            codes[::2] = self.prior(x)[::2]
            return self.discriminator, x, self.generator(codes, *self.condition(batch))
