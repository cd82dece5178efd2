"""A GAN of two small perceptrons, for images or points."""

from math import prod

from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Discriminator,
    Generator,
    Image,
    Latent,
    Points,
    Scores,
    Signature,
)


class ExampleKeyConfig(AdversarialConfig):
    """Settings of the model, besides those that every such GAN has: ``--set model.width=256``."""

    latent_dim: int = Field(16, ge=1, description="size of the latent")
    width: int = Field(128, ge=1, description="width of the hidden layers")


class ExampleKeyGenerator(Generator):
    """Latent [N, L] to samples [N, ...] of any shape."""

    def __init__(self, config: ExampleKeyConfig, sample: Image | Points) -> None:
        # The signature says what goes in and comes out: sampling, export and the runtime read it.
        super().__init__(Signature((Latent((config.latent_dim,)),), sample))
        self.body = nn.Sequential(
            *hidden(config.latent_dim, config.width),
            nn.Linear(config.width, prod(sample.shape)),
            nn.Tanh() if isinstance(sample, Image) else nn.Identity(),  # images have a range, points have none
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return samples [N, ...]."""
        samples: Tensor = self.body(z).unflatten(1, self.signature.output.shape)
        return samples


class ExampleKeyDiscriminator(Discriminator):
    """Samples [N, ...] of any shape to one raw score each, [N]."""

    def __init__(self, config: ExampleKeyConfig, sample: Image | Points) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(nn.Flatten(), *hidden(prod(sample.shape), config.width), nn.Linear(config.width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [N], without a sigmoid: losses do that where it is needed."""
        scores: Tensor = self.body(x).squeeze(1)
        return scores


class ExampleKey(AdversarialTrainer[ExampleKeyConfig, Image | Points]):
    """The networks are all there is to say: loss, regularizers and optimizers are the user's choice."""

    defaults = {"steps": 3_000, "batch_size": 64, "data": {"name": "digits"}, "loss": {"name": "hinge"}}
    presets = {"tiny": {"model": {"width": 32}}}

    def build_generator(self, sample: Image | Points) -> Generator:
        """Return the generator of such samples."""
        return ExampleKeyGenerator(self.config, sample)

    def build_discriminator(self, sample: Image | Points) -> Discriminator:
        """Return the discriminator of such samples."""
        return ExampleKeyDiscriminator(self.config, sample)


def hidden(inputs: int, width: int) -> list[nn.Module]:
    """Return two hidden layers."""
    return [nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)]
