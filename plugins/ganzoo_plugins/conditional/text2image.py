"""Images from captions: a matching-aware discriminator, interpolated embeddings, encoders that are trained along."""

from collections.abc import Mapping
from math import sqrt
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganzoo import (
    AdversarialTrainer,
    Batch,
    Discriminator,
    Generator,
    Image,
    Latent,
    Scores,
    Signature,
    StyleGenerator,
    Tokens,
    UserError,
    draw_latent,
    whole_batch,
    widened,
)
from ganzoo import Field as SignatureField
from ganzoo_plugins.conditional.cgan_matching import mismatched
from ganzoo_plugins.networks.condition import planes
from ganzoo_plugins.networks.dcgan import DCGANConfig, DCGANGenerator, initialize, strided
from ganzoo_plugins.networks.r3gan import R3GANConfig, R3GANDiscriminator, R3GANGenerator
from ganzoo_plugins.networks.sizes import num_downsamples

__all__ = ["CaptionDiscriminator", "CaptionEncoder", "CaptionGenerator", "TextToImage", "TextToImageConfig"]

_SLOPE = 0.2


class TextToImageConfig(DCGANConfig):
    """Settings of :class:`TextToImage`."""

    body: Literal["dcgan", "r3gan"] = Field(
        "dcgan", description="the networks around the caption; r3gan has no batch norm, and a quarter of width at first"
    )
    latent_dim: int = Field(32, ge=1, description="size of the latent")
    embedding_dim: int = Field(64, ge=1, description="size of a caption's embedding, and of its words'")
    interpolation: float = Field(
        0.0, ge=0, description="weight of samples of embeddings halfway between two captions, as in GAN-INT; 0: none"
    )


class CaptionEncoder(nn.Module):
    """Captions, int64 [N, L], to embeddings [N, D].

    Each word is looked up and, by a convolution, joined to its neighbors; the sum over all words goes through a linear
    layer. A sum, so that what one word adds does not depend on how many others there are; padding, 0, adds nothing.
    Embeddings are as long as latents are, a mean square of 1: as long as training made them, fifteen times that, they
    drowned the latent, and a caption had one image.
    """

    def __init__(self, caption: Tokens, dim: int) -> None:
        super().__init__()
        self.words = nn.Embedding(caption.vocabulary, dim)
        self.neighbors = nn.Conv1d(dim, dim, 3, padding=1)
        self.joined = nn.Linear(dim, dim)
        self.scale = 1 / sqrt(caption.length)

    def forward(self, tokens: Tensor) -> Tensor:
        word = (tokens > 0).unsqueeze(2).to(self.words.weight.dtype)
        alone = self.words(tokens) * word
        together = self.neighbors(alone.transpose(1, 2)).transpose(1, 2)
        total = (leaky_relu(alone + together, _SLOPE) * word).sum(1)
        embedding = self.joined(total * self.scale)
        return embedding * (embedding.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class CaptionGenerator(StyleGenerator):
    """Latents [N, Z] and captions [N, L] to images [N, C, H, W].

    Its style ``w`` is the latent with the embedding of the caption behind it, so that both can be interpolated, edited
    and truncated. Captions move towards the mean of the data's examples, latents towards 0.
    """

    def __init__(self, config: TextToImageConfig, sample: Image, caption: Tokens) -> None:
        latent = Latent((config.latent_dim,), config.latent)
        size = config.latent_dim + config.embedding_dim
        super().__init__((latent, caption), 1, size, sample)
        self.encode = CaptionEncoder(caption, config.embedding_dim)
        self.caption = caption
        self.inner: Generator
        if config.body == "r3gan":
            self.inner = R3GANGenerator(_r3gan(config, size), sample)
        else:
            batch_norm = config.batch_norm in ("both", "generator")
            self.inner = DCGANGenerator(Latent((size,), config.latent), config.width, batch_norm, sample)

    @property
    def means(self) -> Mapping[str, Tensor]:
        with torch.no_grad():
            examples = torch.tensor(self.caption.examples, device=self.encode.words.weight.device)
            mean = self.encode(examples).mean(0)
        return {"w": torch.cat([mean.new_zeros(self.signature.inputs[0].shape), mean])}

    def mapped(self, *inputs: Tensor) -> Tensor:
        z, tokens = inputs
        return self.joined(z, self.encode(tokens))

    @staticmethod
    def joined(z: Tensor, embedding: Tensor) -> Tensor:
        """Return the styles [N, 1, Z + D] of latents and embeddings."""
        return torch.cat([z, embedding], 1).unsqueeze(1)

    def drawn(self, styles: Tensor) -> Tensor:
        return self.inner(styles[:, 0])


class CaptionDiscriminator(Discriminator):
    """Images [N, C, H, W] and captions [N, L] to scores [N]: how real the image is, and how well they match.

    The embedding stands at every place of the image's smallest map, as in the paper; a 1x1 convolution joins the two,
    and a linear layer reads the whole map.
    """

    def __init__(self, config: TextToImageConfig, sample: Image, caption: Tokens) -> None:
        super().__init__(Signature((sample, caption), Scores()))
        self.encode = CaptionEncoder(caption, config.embedding_dim)
        _, (height, width) = num_downsamples(sample)
        if config.body == "r3gan":
            layers = list(R3GANDiscriminator(_r3gan(config, 1), sample).body[:-1])
            channels = 2 * config.width
        else:
            (*layers, _), size = strided(sample, config.width, config.batch_norm in ("both", "discriminator"))
            channels = size // (height * width)
        self.features = nn.Sequential(*layers)
        self.join = nn.Conv2d(channels + config.embedding_dim, channels, 1)
        self.read = nn.Linear(channels * height * width, 1)
        if config.body == "dcgan":
            self.features.apply(initialize)

    def matched(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Return the scores [N] of maps of features with embeddings [N, D]."""
        joined = torch.cat([features, planes(embedding, features)], 1)
        return self.read(leaky_relu(self.join(joined), _SLOPE).flatten(1)).squeeze(1)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        return self.matched(self.features(x), self.encode(tokens))


class TextToImage(AdversarialTrainer[TextToImageConfig]):
    """GAN-INT-CLS of Generative Adversarial Text to Image Synthesis (arXiv:1605.05396).

    The discriminator sees real images with their captions, generated ones with theirs, and real ones with the caption
    of another image; the two wrong kinds have a weight of one half each (algorithm 1). With ``interpolation`` the
    generator also draws for embeddings halfway between those of two captions (equation 5, beta 0.5), which no image
    has. Where the paper leaves it to the discriminator to know what matches them, here these are a third wrong kind,
    for half a batch. It is off by default: of drawn shapes, images between two captions were noise as in the paper,
    textures with the third kind, and fade from one to the other without either.

    What a caption leaves out is to vary with the latent. A generator may as well choose it by how the rest is worded,
    and no discriminator sees the difference, since hardly any two captions are the same. So mode seeking
    (arXiv:1903.05628) is on, with a weight that makes it a push.

    The paper's encoder of captions is trained beforehand, on images that it is to tell apart. Here each network has a
    small one of its own that is trained with it, so that nothing but images with captions is needed. The paper's
    networks are those of DCGAN, which ``body`` can replace by R3GAN's; its preset has the relativistic loss and both
    penalties. Samples are drawn for captions in words of the data, and the exported file takes their tokens and holds
    the vocabulary. Images of any number of channels, of the sizes that ``num_downsamples`` allows.
    """

    defaults = {
        "steps": 12_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "non_saturating"},
        "regularizer": {"r1": {"weight": 1.5, "interval": 4}, "mode_seeking": {"weight": 0.02, "interval": 4}},
        "data": {"name": "captioned_shapes"},
        "model": {"batch_norm": "generator", "discriminator_lr": 2e-3, "optimizer": {"lr": 4e-3}},
    }
    presets = {
        "r3gan": {
            "loss": {"name": "relativistic"},
            "regularizer": {"r1": {"weight": 3.0, "interval": 4}, "r2": {"weight": 3.0, "interval": 4}},
            "model": {
                "body": "r3gan",
                "discriminator_lr": 3e-3,
                "optimizer": {"lr": 3e-3, "betas": (0.0, 0.99)},
            },
        },
    }

    @property
    def caption(self) -> Tokens:
        """The captions of the data; raises :class:`~ganzoo.UserError` if there are none."""
        captions = [field for field in self.data.fields[1:] if isinstance(field, Tokens)]
        if len(captions) != 1 or not captions[0].examples:
            raise UserError(
                f"this model learns from images with a caption each, and {self.data.name} has none; take "
                "captioned_shapes, captioned_images or other data with captions"
            )
        return captions[0]

    def scaled(self, field: SignatureField) -> SignatureField:
        # Captions stay whole numbers, which the encoders look up.
        return field if isinstance(field, Tokens) else super().scaled(field)

    def build_generator(self, sample: Image) -> Generator:
        return CaptionGenerator(self.config, sample, self.caption)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return CaptionDiscriminator(self.config, sample, self.caption)

    def condition(self, batch: Batch) -> tuple[Tensor, ...]:
        return (batch[self.caption.name],)

    def scores(self, real: Tensor, fake: Tensor, condition: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return real scores and wrong ones: of the N fake images, the N mismatched pairs and N / 2 halfway images.

        An image for which the batch has no other caption makes no mismatched pair; its fake one stands there again.
        """
        critic = self.discriminator
        assert isinstance(critic, CaptionDiscriminator)
        features, embedding = critic.features(real), critic.encode(*condition)
        partner, differs = mismatched(condition)
        right = widened(critic.matched(features, embedding))
        wrong = widened(critic.matched(features, whole_batch(embedding)[partner]))
        generated = widened(critic.matched(critic.features(fake), embedding))
        kinds = [generated, torch.where(differs, wrong, generated)]
        if self.config.interpolation:
            with torch.no_grad():
                between = self.between(condition)
            kinds.append(widened(critic.matched(critic.features(between), _halfway(embedding))))
        return torch.cat([right[: len(kind)] for kind in kinds]), torch.cat(kinds)

    def between(self, condition: tuple[Tensor, ...]) -> Tensor:
        """Return N / 2 images of embeddings halfway between two captions, as the discriminator sees them."""
        generator = self.generator
        assert isinstance(generator, CaptionGenerator)
        embedding = _halfway(generator.encode(*condition))
        latent = draw_latent(generator, len(embedding), self.device)
        return self.shown(generator.drawn(generator.joined(latent, embedding)))

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of images of captions, and of images of embeddings halfway between two of them."""
        losses = super().generator_loss(batch)
        if not self.config.interpolation:
            return losses
        critic, condition = self.discriminator, self.condition(batch)
        assert isinstance(critic, CaptionDiscriminator)
        scores = widened(critic.matched(critic.features(self.between(condition)), _halfway(critic.encode(*condition))))
        real = batch[self.data.sample.name][: len(scores)]
        seen = tuple(part[: len(scores)] for part in condition)
        real_scores = self.score(self.shown(real), seen) if self.loss.needs_real else None
        between = self.loss.generator(scores, real_scores)
        loss = losses["loss"] + self.config.interpolation * between
        return {**losses, "loss": loss, "interpolated": between.detach()}


def _halfway(embedding: Tensor) -> Tensor:
    """Return embeddings [N / 2, D] halfway between those of the first and of the second half of a batch, [N, D]."""
    half = len(embedding) // 2  # batches are in random order
    return (embedding[:half] + embedding[half : 2 * half]) / 2


def _r3gan(config: TextToImageConfig, latent_dim: int) -> R3GANConfig:
    """Return what R3GAN's networks need to know."""
    width = config.width
    return R3GANConfig(latent_dim=latent_dim, widths=(max(4, width // 4), width, 2 * width))
