"""The gradient penalty of WGAN-GP."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import Regularizer, RegularizerConfig, Score, UserError

__all__ = ["GradientPenalty"]


class GradientPenaltyConfig(RegularizerConfig):
    """Settings of the gradient penalty."""

    weight: float = Field(10.0, ge=0, description="weight of the penalty")
    center: float = Field(1.0, ge=0, description="the norm that the gradient is pulled to")


class GradientPenalty(Regularizer):
    """Two-sided: E[(||grad D(x_hat)||_2 - 1)^2] (Improved Training of Wasserstein GANs, arXiv:1704.00028, eq. 3).

    Each x_hat lies at its own uniformly random place on the line between a real and a fake sample; the norm is taken
    over the whole flattened sample. The penalty sees each gradient alone, so a discriminator with batch norm, whose
    scores depend on the rest of the batch, is refused (section 4 of the paper).
    """

    Config: ClassVar[type[RegularizerConfig]] = GradientPenaltyConfig
    config: GradientPenaltyConfig

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean penalty over the batch."""
        epsilon = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
        mixed = torch.lerp(fake, real, epsilon).requires_grad_()
        (gradient,) = torch.autograd.grad(score(mixed).sum(), mixed, create_graph=True)
        norm = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return (norm - self.config.center).square().mean()

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a discriminator with batch norm."""
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in discriminator.modules()):
            raise UserError(
                "gradient_penalty needs a discriminator that scores each sample by itself, and this one has batch "
                "norm; choose another loss or regulariser, or a model without batch norm in its discriminator"
            )
