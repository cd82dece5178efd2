"""StyleGAN2's path length regularization."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import Generate, GeneratorRegularizer, RegularizerConfig, whole_batch
from ganzoo_plugins.regularizers.gradients import refuse_batch_norm

__all__ = ["PathLength", "PathLengthConfig"]


class PathLengthConfig(RegularizerConfig):
    """Settings of path length regularization."""

    weight: float = Field(2.0, ge=0, description="weight of the penalty")
    interval: int = Field(4, ge=1, description="apply the penalty in every such generator step")
    decay: float = Field(0.99, ge=0, lt=1, description="decay of the running mean of lengths, for each application")


class PathLength(GeneratorRegularizer[PathLengthConfig]):
    """E[(||J^T y||_2 - a)^2] (Analyzing and Improving the Image Quality of StyleGAN, arXiv:1912.04958, eq. 4).

    J is the Jacobian of a sample with respect to its latent: w in stylegan2, as in the paper, and elsewhere the latent
    that the generator is given; y is normal noise of the sample's shape, for images [N, C, H, W] divided by sqrt(H W)
    as in the authors' code. a is the running mean of the lengths; it starts at 0, includes the lengths of this step,
    and has no gradient. Weight 2, interval 4 and decay 0.99 are those of the authors' code. A generator with batch norm
    is refused, as its gradients mix the samples of a batch.
    """

    def __init__(self, config: PathLengthConfig | None = None) -> None:
        super().__init__(config)
        self._mean = torch.zeros(())

    def penalty(self, generate: Generate, z: Tensor) -> Tensor:
        """Return the mean squared distance of the lengths from their running mean, and move that."""
        if not z.requires_grad:  # one that does is computed, like StyleGAN's w, and its network learns from this too
            z = z.detach().requires_grad_()
        samples = generate(z)
        # J^T y without J: the gradient of <G(z), y> with respect to z (section 3.2 of the paper).
        noise = torch.randn_like(samples)
        if samples.dim() == 4:
            # So that the expected length does not grow with the resolution.
            noise = noise / sqrt(samples.shape[2] * samples.shape[3])
        (gradient,) = torch.autograd.grad((samples * noise).sum(), z, create_graph=True)
        lengths = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        # Detached: the target is what lengths are now, not a way to lower the penalty.
        self._mean = self._mean.to(lengths)  # where it stays
        self._mean.copy_(torch.lerp(whole_batch(lengths.detach()).mean(), self._mean, self.config.decay))
        return (lengths - self._mean).square().mean()

    def check(self, generator: nn.Module) -> None:
        """Refuse a generator with batch norm."""
        refuse_batch_norm("path_length", generator, "generator that draws")

    def state_dict(self) -> dict[str, Any]:
        """Return the running mean."""
        return {"mean": self._mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the running mean back."""
        self._mean = state["mean"].clone()
