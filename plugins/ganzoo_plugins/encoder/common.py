"""Settings and networks shared by the models that train an encoder with their generator."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import (
    Batch,
    DataSpec,
    Discriminator,
    DiscriminatorObjective,
    Generator,
    GeneratorRegularizer,
    Image,
    Latent,
    Loss,
    OptimizerConfig,
    Regularizer,
    Trainer,
    TrainerConfig,
)
from ganzoo_plugins.encoder.networks import Encoder
from ganzoo_plugins.networks.condition import JoinedGenerator, OneHot
from ganzoo_plugins.networks.dcgan import DCGANGenerator

__all__ = ["AutoencoderConfig", "AutoencoderTrainer", "ConditionalAutoencoderConfig"]


class AutoencoderConfig(TrainerConfig):
    """Settings of models with an encoder and a generator."""

    width: int = Field(32, ge=1, description="channels of the map next to the image, doubled with each downsampling")
    latent_dim: int = Field(32, ge=1, description="size of the latent")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1e-3), description="optimizer of all networks")
    discriminator_lr: float | None = Field(
        None, gt=0, description="learning rate of the discriminator, if not the others'"
    )


class ConditionalAutoencoderConfig(AutoencoderConfig):
    """Settings of the models whose generator can be conditioned on labels."""

    conditional: bool = Field(
        False, description="the generator is given the labels or attributes of images, so that codes leave them out"
    )


Settings = TypeVar("Settings", bound=AutoencoderConfig, covariant=True)


class AutoencoderTrainer(Trainer[Settings]):
    """A DCGAN generator, and an encoder with the layers of DCGAN's discriminator, for normal latents.

    ``players`` are the networks that each optimizer trains. With the setting ``conditional`` of
    :class:`ConditionalAutoencoderConfig` the generator is also given every label and attribute vector of the data, as
    ``cgan``'s is; encoder and discriminator are not.
    """

    loss: Loss
    samples = (Image,)
    averaged = ("generator", "encoder")
    spread = False
    players: ClassVar[Mapping[str, tuple[str, ...]]]
    defaults = {
        "steps": 8_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "loss": {"name": "non_saturating"},
        "data": {"name": "mnist5k"},
    }

    def __init__(
        self,
        config: Settings,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config, data, loss, regularizers)
        image = self.scaled(data.sample)
        assert isinstance(image, Image), "samples"
        self.image = image
        self.latent = Latent((config.latent_dim,))
        self.conditions = (
            data.conditions if isinstance(config, ConditionalAutoencoderConfig) and config.conditional else ()
        )
        self.generator = self._build_generator()
        self.encoder = Encoder(self.image, self.latent, config.width, spread=self.spread)
        self.discriminator = self.build_discriminator()
        self.networks = {"generator": self.generator, "encoder": self.encoder, "discriminator": self.discriminator}
        self.objective = DiscriminatorObjective(self.discriminator, loss, regularizers)
        # An optimizer for each group that is trained on one loss: AAE and BiGAN train encoder and generator jointly,
        # VAE/GAN each for itself.
        for optimizer, names in self.players.items():
            parameters = [parameter for name in names for parameter in self.networks[name].parameters()]
            rate = config.discriminator_lr if optimizer == "discriminator" else None
            self.optimizers[optimizer] = config.optimizer.build(parameters, lr=rate, betas=self.loss.betas)

    def _build_generator(self) -> Generator:
        def plain(size: int) -> Generator:
            return DCGANGenerator(Latent((size,)), self.config.width, True, self.image)

        if not self.conditions:
            return plain(self.config.latent_dim)
        return JoinedGenerator(self.latent, self.conditions, OneHot(self.conditions), plain)

    @abstractmethod
    def build_discriminator(self) -> Discriminator:
        """Return the discriminator, for images like ``self.image`` and latents like ``self.latent``."""

    def condition(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return what the generator is given about the batch's images; nothing unless it is conditional."""
        return tuple(batch[field.name] for field in self.conditions)

    def prior(self, x: Tensor) -> Tensor:
        """Draw as many latents [N, L] as there are images."""
        return torch.randn(len(x), self.config.latent_dim, device=x.device)
