"""R1 and R2: penalties on the discriminator's gradient at real samples, or at fake ones."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from ganzoo import Regularizer, RegularizerConfig, Score
from ganzoo_plugins.regularizers.gradients import per_sample_gradient, refuse_batch_norm

__all__ = ["R1", "R2"]


class ZeroCenteredConfig(RegularizerConfig):
    """Settings of R1 and R2."""

    weight: float = Field(10.0, ge=0, description="the paper's gamma; half of it multiplies the squared norm")


class R1(Regularizer[ZeroCenteredConfig]):
    """gamma/2 E[||grad D(x)||^2] at real samples (Which Training Methods for GANs do actually Converge?,
    arXiv:1801.04406, eq. 9).

    The weight is gamma, 10 as in the paper, and the half is part of the penalty. The norm is that of the whole
    flattened sample. A discriminator with batch norm is refused, as its gradients mix the samples of a batch. With
    augmentation T, D is the function D(T(x)) and x the sample before T, as in the code of StyleGAN2-ADA and of R3GAN.
    """

    before_augmentation: ClassVar[bool] = True

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return half the mean squared norm at the real samples."""
        return _half_square(score, real)

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a discriminator with batch norm."""
        refuse_batch_norm("r1", discriminator)


class R2(Regularizer[ZeroCenteredConfig]):
    """gamma/2 E[||grad D(G(z))||^2]: :class:`R1` at fake samples (arXiv:1801.04406, section 4.1)."""

    before_augmentation: ClassVar[bool] = True

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return half the mean squared norm at the fake samples."""
        return _half_square(score, fake)

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a discriminator with batch norm."""
        refuse_batch_norm("r2", discriminator)


def _half_square(score: Score, x: Tensor) -> Tensor:
    # The square of the norm, not the norm: it is smooth at 0, which is where the penalty leads.
    return per_sample_gradient(score, x).square().sum(1).mean() / 2
