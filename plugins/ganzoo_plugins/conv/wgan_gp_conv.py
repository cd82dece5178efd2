"""The convolutional WGAN-GP: a compact network that draws soonest on a CPU, and the textbook network as a preset."""

from typing import Literal

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
    Scores,
    Signature,
    UserError,
)
from ganzoo_plugins.networks.compact import CompactCritic, CompactGenerator, stem_layers
from ganzoo_plugins.networks.layers import AdaptiveAvgPool2d, AvgPool2d, LayerNorm2d, output_activation, same_conv2d

__all__ = ["ConvolutionalWGAN", "ConvolutionalWGANConfig", "TextbookCritic", "TextbookGenerator"]


class ConvolutionalWGANConfig(AdversarialConfig):
    """Settings of the convolutional WGAN-GP."""

    network: Literal["compact", "textbook"] = Field("compact", description="which pair of networks")
    width: int = Field(24, ge=1, description="compact generator: channels, times 4 and 2 from map to map")
    critic_width: int = Field(32, ge=1, description="compact critic: channels, times 1, 2 and 4 from map to map")
    latent_dim: int = Field(32, ge=1, description="size of the latent (textbook: used with a stem alone)")
    stem: int | None = Field(
        None, ge=1, description="width of a hidden fully connected layer in front of the generator's convolutions"
    )
    n_critic: int | None = Field(1, ge=1, description="critic steps a generator step")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=5e-3), description="optimizer of both")


class TextbookGenerator(Generator):
    """A latent of 16 maps of a quarter of the size, or [N, L] through a stem, to images.

    5x5 convolutions with layer norm and LeakyReLU, and two 4x4 transposed convolutions of stride 2.
    """

    def __init__(self, latent_dim: int, stem: int | None, sample: Image) -> None:
        height, width = sample.height // 4, sample.width // 4
        start = (16, height, width)
        super().__init__(Signature((Latent(start if stem is None else (latent_dim,)),), sample))
        self.project = nn.Sequential(*([] if stem is None else stem_layers(latent_dim, stem, start)))
        self.body = nn.Sequential(
            *_normalized(nn.Conv2d(16, 128, 5, padding=2), 128, height, width),
            *_normalized(nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1), 64, 2 * height, 2 * width),
            *_normalized(nn.Conv2d(64, 64, 5, padding=2), 64, 2 * height, 2 * width),
            *_normalized(nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), 32, 4 * height, 4 * width),
            same_conv2d(32, sample.channels, 5),
            output_activation(sample),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map [N, 16, H/4, W/4], or [N, L] with a stem, to [N, C, H, W]."""
        return self.body(self.project(z))


class TextbookCritic(Discriminator):
    """Images [N, C, H, W] to one score each.

    5x5 convolutions, average pooling, adaptive pooling to 4x4, two linear layers.
    """

    def __init__(self, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()))
        height, width = sample.height, sample.width
        self.body = nn.Sequential(
            *_normalized(same_conv2d(sample.channels, 32, 5), 32, height, width),
            AvgPool2d(),
            *_normalized(nn.Conv2d(32, 64, 5, padding=2), 64, height // 2, width // 2),
            AvgPool2d(),
            *_normalized(nn.Conv2d(64, 128, 5, padding=2), 128, height // 4, width // 4),
            AdaptiveAvgPool2d((height // 4, width // 4), (4, 4)),
            nn.Flatten(),
            nn.Linear(128 * 16, 256),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(256, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


class ConvolutionalWGAN(AdversarialTrainer[ConvolutionalWGANConfig]):
    """WGAN-GP with convolutions (Improved Training of Wasserstein GANs, arXiv:1704.00028).

    Images of any number of channels, of any height and width that are multiples of 4.
    """

    pixel_range = (0.0, 1.0)
    defaults = {
        "steps": 4_500,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "wgan_gp"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "textbook": {
            "steps": 20_000,
            "batch_size": 128,
            "lr_schedule": "constant",
            "lr_warmup": 0,
            "model": {
                "network": "textbook",
                "n_critic": 5,
                "optimizer": {"name": "adamw", "lr": 1e-4, "betas": (0.0, 0.9), "weight_decay": 0.01},
            },
        }
    }

    def build_generator(self, sample: Image) -> Generator:
        if sample.height % 4 or sample.width % 4 or min(sample.height, sample.width) < 8:
            raise UserError(
                "wgan_gp_conv draws images whose height and width are multiples of 4, at least 8, not "
                f"{sample.height}x{sample.width}; resize them, as with --data folder --set data.size=32"
            )
        if self.config.network == "textbook":
            return TextbookGenerator(self.config.latent_dim, self.config.stem, sample)
        return CompactGenerator(self.config.latent_dim, self.config.width, self.config.stem, sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        if self.config.network == "textbook":
            return TextbookCritic(sample)
        return CompactCritic(self.config.critic_width, sample)


def _normalized(convolution: nn.Module, channels: int, height: int, width: int) -> list[nn.Module]:
    return [convolution, LayerNorm2d(channels, height, width, slope=0.2)]
