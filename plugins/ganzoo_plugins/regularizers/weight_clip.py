"""Weight clipping, which the first WGAN paper uses to keep the critic Lipschitz."""

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import Regularizer, RegularizerConfig, Score

__all__ = ["WeightClip"]


class WeightClipConfig(RegularizerConfig):
    """Settings of weight clipping."""

    limit: float = Field(0.01, gt=0, description="weights stay in [-limit, limit]")


class WeightClip(Regularizer[WeightClipConfig]):
    """Clips every weight of the critic to [-c, c] after each of its steps (Wasserstein GAN, arXiv:1701.07875)."""

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        """No penalty: the weights are projected instead."""
        return None

    @torch.no_grad()
    def project(self, discriminator: nn.Module) -> None:
        """Clip the weights in place."""
        # Fused in-place operations: this runs after every critic step, and a loop over tensors launches many kernels.
        parameters: list[Tensor] = [parameter for parameter in discriminator.parameters() if parameter.requires_grad]
        torch._foreach_clamp_min_(parameters, -self.config.limit)
        torch._foreach_clamp_max_(parameters, self.config.limit)
