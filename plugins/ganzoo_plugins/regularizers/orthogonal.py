"""BigGAN's orthogonal regularization: a penalty on weights, of the generator or of the discriminator."""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import Bound, GeneratorRegularizer, Regularizer, RegularizerConfig, UserError

__all__ = ["Orthogonal", "OrthogonalConfig", "OrthogonalDiscriminator"]


class OrthogonalConfig(RegularizerConfig):
    """Settings of orthogonal regularization."""

    weight: float = Field(1e-4, ge=0, description="weight of the penalty, the paper's beta")


class Orthogonal(GeneratorRegularizer[OrthogonalConfig]):
    """||W^T W * (1 - I)||_F^2, summed over the layers (Large Scale GAN Training for High Fidelity Natural Image
    Synthesis, arXiv:1809.11096, eq. 3).

    The columns of W are the filters of a linear layer or a convolution; 1 - I takes out the diagonal, so that filters
    are pushed to be perpendicular to each other, whatever their lengths. It makes generators amenable to truncation:
    latents close to their mean, which are rare in training, give samples that are not torn. Embeddings are left alone.
    Of a layer with spectral norm it is the weights before the division, as in the authors' code.
    """

    def penalty(self, generate: Bound, z: Tensor) -> Tensor:
        """Return the sum over the generator's layers."""
        return _overlap(generate.network)

    def check(self, generator: nn.Module) -> None:
        """Refuse a generator without a layer of two filters."""
        _refuse_without_filters("orthogonal", generator)


class OrthogonalDiscriminator(Regularizer[OrthogonalConfig]):
    """:class:`Orthogonal` for the discriminator, for which the authors' code has it as an option too."""

    def penalty(self, score: Bound, real: Tensor, fake: Tensor) -> Tensor:
        """Return the sum over the discriminator's layers."""
        return _overlap(score.network)

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a discriminator without a layer of two filters."""
        _refuse_without_filters("orthogonal_discriminator", discriminator)


def _overlap(network: nn.Module) -> Tensor:
    """Return the sum of the squared products of each two filters of a layer, each pair twice."""
    overlaps = []
    for filters in _filters(network):
        products = filters @ filters.T
        # All but the diagonal, without the mask of ones that the formula has: it would be as large as the products.
        overlaps.append(products.square().sum() - products.diagonal().square().sum())
    return torch.stack(overlaps).sum()


def _filters(network: nn.Module) -> Iterator[Tensor]:
    """Yield the filters of each layer that has several, [filters, numbers]."""
    for module in network.modules():
        if not isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            continue
        parts = dict(module.named_parameters())
        weight: Tensor = parts["parametrizations.weight.original"] if "weight" not in parts else parts["weight"]
        if isinstance(module, nn.modules.conv._ConvTransposeNd):
            weight = weight.transpose(0, 1)  # which has its inputs first
        if len(weight) > 1:
            yield weight.flatten(1)


def _refuse_without_filters(key: str, network: nn.Module) -> None:
    if next(_filters(network), None) is None:
        raise UserError(
            f"{key} is for layers of several filters, and there are none; leave it out with --without {key}"
        )
