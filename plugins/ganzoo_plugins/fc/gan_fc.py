"""The fully connected GAN: the shape of a sample does not matter to it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Discriminator,
    Generator,
    Image,
    OptimizerConfig,
    Points,
)
from ganzoo_plugins.networks.mlp import FullyConnectedDiscriminator, FullyConnectedGenerator

__all__ = ["FullyConnectedConfig", "FullyConnectedGAN"]


class FullyConnectedConfig(AdversarialConfig):
    """Settings of the fully connected GAN."""

    latent_dim: int = Field(64, ge=1, description="size of the latent")
    components: int = Field(
        1, ge=1, description="Gaussians that the latent is a mixture of, their means learned; 1: the plain latent"
    )
    component_width: float = Field(0.015, gt=0, description="standard deviation of each of several components")
    hidden: tuple[int, ...] = Field((256, 256, 256), min_length=1, description="widths of the hidden layers")
    features: int = Field(
        0, ge=0, description="random Fourier features of a sample that the discriminator is given beside it"
    )
    feature_scale: float = Field(
        0.06, gt=0, description="standard deviation of their frequencies, in waves for each unit of the data"
    )
    layer_norm: Literal["generator", "both", "none"] = Field("generator", description="where layers are normalized")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1e-3), description="optimizer of both")


_MIXTURE_NETWORKS: Mapping[str, Any] = {
    "latent_dim": 8,
    "components": 512,
    "hidden": (64, 64, 64),
    "features": 16,
    "layer_norm": "none",
    "optimizer": {"name": "adam", "lr": 2e-3, "betas": (0.5, 0.999)},
    "discriminator_lr": 4e-3,  # the modes circle around their places if the discriminator is no faster
}

# For points in many clusters, a few units across in all. Features of much higher frequency drop modes.
_MIXTURE: Mapping[str, Any] = {
    "steps": 10_000,
    "batch_size": 256,
    "ema": 0.999,
    "lr_schedule": "linear",
    "loss": {"name": "relativistic"},
    "regularizer": {"r1": {"weight": 0.02}, "r2": {"weight": 0.02}},
    "model": _MIXTURE_NETWORKS,
}

# For fewer and finer clusters, about one unit across: faster features and a lighter penalty on the larger slopes. Pairs
# of samples (pack) keep the modes equal; 25 modes make too many kinds of pairs for networks of this size.
_MIXTURE_UNIT: Mapping[str, Any] = {
    **_MIXTURE,
    "steps": 12_000,
    "regularizer": {"r1": {"weight": 0.003}, "r2": {"weight": 0.003}},
    "model": {**_MIXTURE_NETWORKS, "component_width": 0.0125, "feature_scale": 0.16, "pack": 2},
}


class FullyConnectedGAN(AdversarialTrainer[FullyConnectedConfig, Image | Points]):
    """Two multi-layer perceptrons, as in Generative Adversarial Networks (arXiv:1406.2661), with layer norm."""

    pixel_range = (0.0, 1.0)
    defaults = {
        "steps": 5_000,
        "batch_size": 128,
        "ema": 0.998,
        "loss": {"name": "non_saturating"},
        "data": {"name": "mnist5k"},
    }
    presets = {"mixture": _MIXTURE, "mixture_unit": _MIXTURE_UNIT}

    def build_generator(self, sample: Image | Points) -> Generator:
        config = self.config
        return FullyConnectedGenerator(
            config.latent_dim,
            config.hidden,
            sample,
            config.layer_norm != "none",
            config.components,
            config.component_width,
        )

    def build_discriminator(self, sample: Image | Points) -> Discriminator:
        config = self.config
        return FullyConnectedDiscriminator(
            sample, config.hidden, config.layer_norm == "both", config.features, config.feature_scale
        )
