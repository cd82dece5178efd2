"""Penalties that pull the norm of the critic's gradient to a value: those of WGAN-GP and DRAGAN."""

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import Regularizer, RegularizerConfig, Score, whole_batch
from ganzoo_plugins.regularizers.gradients import per_sample_gradient, refuse_batch_norm

__all__ = ["DRAGAN", "GradientPenalty", "GradientPenaltyConfig"]


class GradientPenaltyConfig(RegularizerConfig):
    """Settings of the gradient penalties."""

    weight: float = Field(10.0, ge=0, description="weight of the penalty")
    center: float = Field(1.0, ge=0, description="the norm that the gradient is pulled to")


class GradientPenalty(Regularizer[GradientPenaltyConfig]):
    """Two-sided: E[(||grad D(x_hat)||_2 - 1)^2] (Improved Training of Wasserstein GANs, arXiv:1704.00028, eq. 3).

    Each x_hat lies at its own uniformly random place on the line between a real and a fake sample; the norm is taken
    over the whole flattened sample. The penalty sees each gradient alone, so a discriminator with batch norm, whose
    scores depend on the rest of the batch, is refused (section 4 of the paper).
    """

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean penalty over the batch."""
        # One epsilon for each sample, not for each element: x_hat lies on the straight line between the pair, where the
        # optimal critic has gradient norm 1 (proposition 1 and algorithm 1).
        epsilon = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
        return _pull(score, torch.lerp(fake, real, epsilon), self.config.center)

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a discriminator with batch norm."""
        refuse_batch_norm("gradient_penalty", discriminator)


class DRAGAN(Regularizer[GradientPenaltyConfig]):
    """E[(||grad D(x + delta)||_2 - 1)^2] around real samples alone (On Convergence and Stability of GANs,
    arXiv:1705.07215).

    The paper draws delta from N(0, c I). Its authors' code, which is followed here, takes 0.5 std(x) u instead, with u
    uniform in [0, 1) for each element and std(x) one number for the whole batch, and then goes a uniformly random part
    of the way from x to x + delta, drawn for each sample. Weight 10 and norm 1 are the paper's lambda and k. A
    discriminator with batch norm is refused, as its gradients mix the samples of a batch.
    """

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean penalty over the batch; fake samples play no part."""
        # The noise is scaled by the spread of the data, so that it fits any value range.
        delta = 0.5 * whole_batch(real).std(correction=0) * torch.rand_like(real)
        part = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
        return _pull(score, real + part * delta, self.config.center)

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a discriminator with batch norm."""
        refuse_batch_norm("dragan", discriminator)


def _pull(score: Score, x: Tensor, center: float) -> Tensor:
    """Return the mean squared distance of the gradient's norm at ``x`` from the center."""
    gradient = per_sample_gradient(score, x)
    if center == 0:
        # The square of the norm is smooth at 0, where the norm has no derivative.
        return gradient.square().sum(1).mean()
    return (torch.linalg.vector_norm(gradient, dim=1) - center).square().mean()
