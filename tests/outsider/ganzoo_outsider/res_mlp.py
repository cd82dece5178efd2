"""A residual multi-layer perceptron against another one, for images or points."""

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
    OptimizerConfig,
    Points,
    Scores,
    Signature,
)


class ResidualConfig(AdversarialConfig):
    """What [model] may say; the settings that every such GAN has (n_critic ...) come with the base class."""

    latent_dim: int = Field(32, ge=1, description="size of the latent")
    width: int = Field(256, ge=1, description="width of the residual stream")
    blocks: int = Field(3, ge=1, description="residual blocks in each network")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=2e-4, betas=(0.0, 0.99)), description="optimizer of both")


class Residual(nn.Module):
    """x + f(x) for x [N, W], where f is normalization, a hidden layer and a way back that starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResidualGenerator(Generator):
    """Latent [N, L] to samples [N, ...] of any shape."""

    def __init__(self, config: ResidualConfig, sample: Image | Points) -> None:
        super().__init__(Signature((Latent((config.latent_dim,)),), sample))
        self.body = nn.Sequential(
            nn.Linear(config.latent_dim, config.width),
            *(Residual(config.width) for _ in range(config.blocks)),
            nn.LayerNorm(config.width),
            nn.Linear(config.width, prod(sample.shape)),
            nn.Tanh() if isinstance(sample, Image) else nn.Identity(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).unflatten(1, self.signature.output.shape)


class ResidualDiscriminator(Discriminator):
    """Samples [N, ...] of any shape to one score each, [N]."""

    def __init__(self, config: ResidualConfig, sample: Image | Points) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(sample.shape), config.width),
            *(Residual(config.width) for _ in range(config.blocks)),
            nn.LayerNorm(config.width),
            nn.Linear(config.width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


class ResidualGAN(AdversarialTrainer[ResidualConfig, Image | Points]):
    """What the settings are and which samples it draws; phases, averaging, checkpoints and resume are ganzoo's work."""

    defaults = {
        "steps": 5_000,
        "batch_size": 128,
        "data": {"name": "digits"},
        "loss": {"name": "ganzoo-outsider/pearson"},
    }
    presets = {"tiny": {"model": {"width": 64, "blocks": 1}}}

    def build_generator(self, sample: Image | Points) -> Generator:
        return ResidualGenerator(self.config, sample)

    def build_discriminator(self, sample: Image | Points) -> Discriminator:
        return ResidualDiscriminator(self.config, sample)
