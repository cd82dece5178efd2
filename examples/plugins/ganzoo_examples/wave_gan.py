"""A WGAN of series [C, L], with convolutions along time."""

from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Discriminator,
    Generator,
    Latent,
    Scores,
    Sequence,
    Signature,
    UserError,
)


class WaveGANConfig(AdversarialConfig):
    """What [model] may say; the settings that every such GAN has (n_critic ...) come with the base class."""

    latent_dim: int = Field(16, ge=1, description="size of the latent")
    width: int = Field(32, ge=1, description="channels of the layers")


class WaveGenerator(Generator):
    """Latent [N, D] to series [N, C, L] in the data's range."""

    def __init__(self, config: WaveGANConfig, sample: Sequence) -> None:
        super().__init__(Signature((Latent((config.latent_dim,)),), sample))
        if sample.length % 4:
            raise UserError(f"this model draws series whose length is a multiple of 4, not {sample.length}")
        self.body = nn.Sequential(
            nn.Linear(config.latent_dim, config.width * sample.length // 4),
            nn.Unflatten(1, (config.width, sample.length // 4)),
            nn.ReLU(),
            nn.ConvTranspose1d(config.width, config.width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(config.width, sample.channels, 4, stride=2, padding=1),
        )
        self.low, self.high = sample.range

    def forward(self, z: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * (self.body(z).tanh() + 1) / 2


class WaveCritic(Discriminator):
    """Series [N, C, L] to a raw score each, [N]."""

    def __init__(self, config: WaveGANConfig, sample: Sequence) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(
            nn.Conv1d(sample.channels, config.width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(config.width, config.width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(config.width * sample.length // 4, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


class WaveGAN(AdversarialTrainer[WaveGANConfig, Sequence]):
    """What the settings are and which samples it draws; phases, averaging, checkpoints and resume are ganzoo's work."""

    defaults = {
        "steps": 5_000,
        "batch_size": 64,
        "data": {"name": "ganzoo-examples/tones"},
        "loss": {"name": "wgan_gp"},
    }
    presets = {"tiny": {"model": {"width": 8, "latent_dim": 4}}}

    def build_generator(self, sample: Sequence) -> Generator:
        return WaveGenerator(self.config, sample)

    def build_discriminator(self, sample: Sequence) -> Discriminator:
        return WaveCritic(self.config, sample)
