"""WGAN-GP of series: convolutions along time."""

from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Discriminator,
    Generator,
    Latent,
    OptimizerConfig,
    Scores,
    Sequence,
    Signature,
    UserError,
)
from ganzoo_plugins.networks.sequences import InRange

__all__ = ["SeriesCritic", "SeriesGenerator", "SeriesWGAN", "SeriesWGANConfig"]


class SeriesWGANConfig(AdversarialConfig):
    """Settings of the WGAN-GP of series."""

    latent_dim: int = Field(32, ge=1, description="size of the latent")
    width: int = Field(16, ge=1, description="generator: channels, times 4, 2 and 1 as the series get longer")
    critic_width: int = Field(16, ge=1, description="critic: channels, times 1, 2 and 4 as the series get shorter")
    n_critic: int | None = Field(3, ge=1, description="critic steps a generator step")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=2e-3), description="optimizer of both")


class SeriesGenerator(Generator):
    """A latent [N, D] to series [N, C, L]: a quarter of the length at first, doubled twice."""

    def __init__(self, latent_dim: int, width: int, sample: Sequence) -> None:
        super().__init__(Signature((Latent((latent_dim,)),), sample))
        quarter = sample.length // 4
        self.body = nn.Sequential(
            nn.Linear(latent_dim, 8 * width),
            nn.ReLU(),
            nn.Linear(8 * width, 4 * width * quarter),
            nn.Unflatten(1, (4 * width, quarter)),
            nn.ReLU(),
            nn.ConvTranspose1d(4 * width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(2 * width, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, sample.channels, 5, padding=2),
            InRange(sample),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


class SeriesCritic(Discriminator):
    """Series [N, C, L] to one score each: the length halved twice, then two linear layers of all that is left.

    Convolutions see fourteen steps; the first linear layer is what sees how a series goes on.
    """

    def __init__(self, width: int, sample: Sequence) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(
            nn.Conv1d(sample.channels, width, 5, padding=2),
            nn.LeakyReLU(0.2),
            nn.Conv1d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(2 * width, 4 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(width * sample.length, 8 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(8 * width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


class SeriesWGAN(AdversarialTrainer[SeriesWGANConfig, Sequence]):
    """WGAN-GP (Improved Training of Wasserstein GANs, arXiv:1704.00028) of series, with convolutions along time.

    Series of any number of channels, whose length is a multiple of 4 and at least 8. No layer normalizes: the penalty
    asks for a critic that scores each series by itself, and the level of a series is part of what is learned.
    """

    defaults = {
        "steps": 6_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "loss": {"name": "wgan_gp"},
        "data": {"name": "waves"},
    }

    def build_generator(self, sample: Sequence) -> Generator:
        if sample.length % 4 or sample.length < 8:
            raise UserError(
                f"wgan_gp_seq draws series whose length is a multiple of 4, at least 8, not {sample.length}; choose "
                "another data.length, or rcgan, which draws series of any length"
            )
        return SeriesGenerator(self.config.latent_dim, self.config.width, sample)

    def build_discriminator(self, sample: Sequence) -> Discriminator:
        return SeriesCritic(self.config.critic_width, sample)
