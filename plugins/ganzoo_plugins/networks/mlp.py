"""Multi-layer perceptrons, to which the shape of a sample does not matter."""

from itertools import pairwise
from math import pi, prod

import torch
from torch import Tensor, nn

from ganzoo import Discriminator, Field, Generator, Latent, Scores, Signature, full_precision
from ganzoo_plugins.networks.layers import output_activation

__all__ = ["FourierFeatures", "FullyConnectedDiscriminator", "FullyConnectedGenerator", "GatedLayer", "MixtureLatent"]


class FullyConnectedGenerator(Generator):
    """Latent [N, L] to samples [N, ...] of any shape; [N, 1 + L] if it is a mixture of several components."""

    def __init__(
        self,
        latent_dim: int,
        hidden: tuple[int, ...],
        sample: Field,
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
        return self.activation(self.head(self.body(z))).unflatten(1, self.signature.output.shape)


class FullyConnectedDiscriminator(Discriminator):
    """Samples [N, ...] of any shape to one score each."""

    def __init__(
        self,
        sample: Field,
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
        return self.head(self.body(x.flatten(1))).squeeze(1)


class MixtureLatent(nn.Module):
    """Latent [N, 1 + L], normal, to a mixture of K Gaussians [N, L] (DeLiGAN, arXiv:1706.02071, section 4).

    mu_k + sigma * noise: the first number of the latent picks the component k = floor(K Phi(z)), each as likely as any
    other, and the others are the noise. A network is continuous: for latents between those of two modes it draws points
    between the modes. A mixture needs no latents there. mu is learned with the network, as in the paper; sigma, which
    the paper learns too and holds up with a penalty, is fixed: learned without one it fell to nearly 0, and points were
    drawn in place of Gaussians.
    """

    def __init__(self, components: int, latent_dim: int, width: float) -> None:
        super().__init__()
        self.width = width
        self.mean = nn.Parameter(torch.randn(components, latent_dim))

    def forward(self, z: Tensor) -> Tensor:
        share = (1 + torch.erf(z[:, 0] / 2**0.5)) / 2  # uniform in 0..1, and 1 itself far out
        component = (share * len(self.mean)).long().clamp(max=len(self.mean) - 1)
        return self.mean[component] + self.width * z[:, 1:]


class GatedLayer(nn.Module):
    """A hidden layer times 1 + a linear map of its input, [N, A] to [N, B].

    ReGLU's max(0, xW) * xV (GLU Variants Improve Transformer, arXiv:2002.05202) but for the layer's own activation, and
    for the 1, with which a gate of zeros leaves the layer as it is. Products of inputs, such as of the shape and the
    angle that a figure is turned by, come from one layer rather than from many units.
    """

    def __init__(self, layer: nn.Module, gate: nn.Linear) -> None:
        super().__init__()
        self.layer, self.gate = layer, gate

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (1 + self.gate(x))


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
        with full_precision(x.device):  # many turns: of 8 bits no angle would be left
            angle = x @ self.projection
        return torch.cat([x, angle.sin(), angle.cos()], dim=1)


def _hidden_layers(widths: tuple[int, ...], layer_norm: bool, gated: bool = False) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layer = [nn.Linear(before, after), *([nn.LayerNorm(after)] if layer_norm else []), nn.LeakyReLU(0.2, True)]
        layers += [GatedLayer(nn.Sequential(*layer), nn.Linear(before, after))] if gated else layer
    return layers
