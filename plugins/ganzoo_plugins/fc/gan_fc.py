"""The fully connected GAN: the shape of a sample does not matter to it."""

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import Any, ClassVar, Literal

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
    TrainerConfig,
    UserError,
)
from ganzoo.signature import Field as SampleField
from ganzoo_plugins.layers import output_activation

__all__ = ["FullyConnectedConfig", "FullyConnectedDiscriminator", "FullyConnectedGAN", "FullyConnectedGenerator"]


class FullyConnectedConfig(AdversarialConfig):
    """Settings of the fully connected GAN."""

    latent_dim: int = Field(64, ge=1, description="size of the latent")
    hidden: tuple[int, ...] = Field((256, 256, 256), min_length=1, description="widths of the hidden layers")
    layer_norm: Literal["generator", "both", "none"] = Field("generator", description="where layers are normalised")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1e-3), description="optimizer of both")


class FullyConnectedGenerator(Generator):
    """Latent [N, L] to samples of any shape."""

    def __init__(self, latent_dim: int, hidden: tuple[int, ...], sample: SampleField, layer_norm: bool) -> None:
        super().__init__(Signature((Latent((latent_dim,)),), sample))
        self.body = nn.Sequential(*_hidden_layers((latent_dim, *hidden), layer_norm))
        self.head = nn.Linear(hidden[-1], prod(sample.shape))
        self.activation = output_activation(sample)

    def forward(self, z: Tensor) -> Tensor:
        """Map [N, L] to [N, *sample]."""
        return self.activation(self.head(self.body(z))).unflatten(1, self.signature.output.shape)


class FullyConnectedDiscriminator(Discriminator):
    """Samples of any shape to one score each."""

    def __init__(self, sample: SampleField, hidden: tuple[int, ...], layer_norm: bool) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(*_hidden_layers((prod(sample.shape), *hidden), layer_norm))
        self.head = nn.Linear(hidden[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, *sample] to scores [N]."""
        scores: Tensor = self.head(self.body(x.flatten(1))).squeeze(1)
        return scores


class FullyConnectedGAN(AdversarialTrainer):
    """Two multi-layer perceptrons, as in Generative Adversarial Networks (arXiv:1406.2661), with layer norm."""

    Config: ClassVar[type[TrainerConfig]] = FullyConnectedConfig
    config: FullyConnectedConfig
    pixel_range = (0.0, 1.0)
    defaults: ClassVar[Mapping[str, Any]] = {
        "steps": 5_000,
        "batch_size": 128,
        "ema": 0.998,
        "loss": {"name": "non_saturating"},
        "data": {"name": "mnist5k"},
    }

    def build_generator(self, sample: SampleField) -> Generator:
        """Return the generator."""
        if not isinstance(sample, Image | Points):
            raise UserError(f"gan_fc draws images or points, not {sample.kind}")
        layer_norm = self.config.layer_norm != "none"
        return FullyConnectedGenerator(self.config.latent_dim, self.config.hidden, sample, layer_norm)

    def build_discriminator(self, sample: SampleField) -> Discriminator:
        """Return the discriminator."""
        return FullyConnectedDiscriminator(sample, self.config.hidden, self.config.layer_norm == "both")


def _hidden_layers(widths: tuple[int, ...], layer_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers.append(nn.Linear(before, after))
        if layer_norm:
            layers.append(nn.LayerNorm(after))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return layers
