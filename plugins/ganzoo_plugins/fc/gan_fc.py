"""The fully connected GAN: the shape of a sample does not matter to it."""

from collections.abc import Mapping
from itertools import pairwise
from math import pi, prod
from typing import Any, ClassVar, Literal

import torch
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
    full_precision,
)
from ganzoo.fields import Field as SampleField
from ganzoo_plugins.layers import output_activation

__all__ = [
    "FourierFeatures",
    "FullyConnectedConfig",
    "FullyConnectedDiscriminator",
    "FullyConnectedGAN",
    "FullyConnectedGenerator",
    "GatedLayer",
    "MixtureLatent",
]


class FullyConnectedConfig(AdversarialConfig):
    """Settings of the fully connected GAN."""

    latent_dim: int = Field(64, ge=1, description="size of the latent")
    components: int = Field(
        1, ge=1, description="Gaussians that the latent is a mixture of, their means learnt; 1: the plain latent"
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


class MixtureLatent(nn.Module):
    """Latent [N, 1 + L], normal, to a mixture of K Gaussians [N, L] (DeLiGAN, arXiv:1706.02071, section 4).

    mu_k + sigma * noise: the first number of the latent picks the component k = floor(K Phi(z)), each as likely as any
    other, and the others are the noise. A network is continuous: for latents between those of two modes it draws points
    between the modes. A mixture needs no latents there. mu is learnt with the network, as in the paper; sigma, which
    the paper learns too and holds up with a penalty, is fixed: learnt without one it fell to nearly 0, and points were
    drawn in place of Gaussians.
    """

    def __init__(self, components: int, latent_dim: int, width: float) -> None:
        super().__init__()
        self.width = width
        self.mean = nn.Parameter(torch.randn(components, latent_dim))

    def forward(self, z: Tensor) -> Tensor:
        """Map [N, 1 + L] to [N, L]."""
        share = (1 + torch.erf(z[:, 0] / 2**0.5)) / 2  # uniform in 0..1, and 1 itself far out
        component = (share * len(self.mean)).long().clamp(max=len(self.mean) - 1)
        return self.mean[component] + self.width * z[:, 1:]


class GatedLayer(nn.Module):
    """A hidden layer times 1 + a linear map of its input.

    ReGLU's max(0, xW) * xV (GLU Variants Improve Transformer, arXiv:2002.05202) but for the layer's own activation, and
    for the 1, with which a gate of zeros leaves the layer as it is. Products of inputs, such as of the shape and the
    angle that a figure is turned by, come from one layer rather than from many units.
    """

    def __init__(self, layer: nn.Module, gate: nn.Linear) -> None:
        super().__init__()
        self.layer, self.gate = layer, gate

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, A] to [N, B]."""
        hidden: Tensor = self.layer(x) * (1 + self.gate(x))
        return hidden


class FullyConnectedGenerator(Generator):
    """Latent [N, L] to samples of any shape; [N, 1 + L] if it is a mixture of several components."""

    def __init__(
        self,
        latent_dim: int,
        hidden: tuple[int, ...],
        sample: SampleField,
        layer_norm: bool,
        components: int = 1,
        component_width: float = 0.015,
        gated: bool = False,
    ) -> None:
        mixed = components > 1
        super().__init__(Signature((Latent((latent_dim + mixed,)),), sample))
        mixture = [MixtureLatent(components, latent_dim, component_width)] if mixed else []
        self.body = nn.Sequential(*mixture, *_hidden_layers((latent_dim, *hidden), layer_norm, gated))
        self.head = nn.Linear(hidden[-1], prod(sample.shape))
        self.activation = output_activation(sample)

    def forward(self, z: Tensor) -> Tensor:
        """Map [N, L] to [N, *sample]."""
        return self.activation(self.head(self.body(z))).unflatten(1, self.signature.output.shape)


class FourierFeatures(nn.Module):
    """Samples [N, D] with sin and cos of F random projections beside them, [N, D + 2 F].

    sin(2 pi B x) and cos(2 pi B x) with B normal, drawn once (Fourier Features Let Networks Learn High Frequency
    Functions in Low Dimensional Domains, arXiv:2006.10739, section 4). The paper's network sees them instead of x; here
    x stays, for what is of one trend over all of the data.
    """

    projection: Tensor

    def __init__(self, dim: int, features: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("projection", 2 * pi * scale * torch.randn(dim, features))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, D] to [N, D + 2 F]."""
        with full_precision(x.device):  # many turns: of 8 bits no angle would be left
            angle = x @ self.projection
        return torch.cat([x, angle.sin(), angle.cos()], dim=1)


class FullyConnectedDiscriminator(Discriminator):
    """Samples of any shape to one score each."""

    def __init__(
        self,
        sample: SampleField,
        hidden: tuple[int, ...],
        layer_norm: bool,
        features: int = 0,
        feature_scale: float = 0.06,
    ) -> None:
        super().__init__(Signature((sample,), Scores()))
        dim = prod(sample.shape)
        joined = [FourierFeatures(dim, features, feature_scale)] if features else []
        self.body = nn.Sequential(*joined, *_hidden_layers((dim + 2 * features, *hidden), layer_norm))
        self.head = nn.Linear(hidden[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, *sample] to scores [N]."""
        scores: Tensor = self.head(self.body(x.flatten(1))).squeeze(1)
        return scores


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
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mixture": _MIXTURE, "mixture_unit": _MIXTURE_UNIT}

    def build_generator(self, sample: SampleField) -> Generator:
        """Return the generator."""
        if not isinstance(sample, Image | Points):
            raise UserError(f"gan_fc draws images or points, not {sample.kind}")
        config = self.config
        return FullyConnectedGenerator(
            config.latent_dim,
            config.hidden,
            sample,
            config.layer_norm != "none",
            config.components,
            config.component_width,
        )

    def build_discriminator(self, sample: SampleField) -> Discriminator:
        """Return the discriminator."""
        config = self.config
        return FullyConnectedDiscriminator(
            sample, config.hidden, config.layer_norm == "both", config.features, config.feature_scale
        )


def _hidden_layers(widths: tuple[int, ...], layer_norm: bool, gated: bool = False) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layer = [nn.Linear(before, after), *([nn.LayerNorm(after)] if layer_norm else []), nn.LeakyReLU(0.2, True)]
        layers += [GatedLayer(nn.Sequential(*layer), nn.Linear(before, after))] if gated else layer
    return layers
