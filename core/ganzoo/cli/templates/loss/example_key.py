"""The hinge loss with a margin that can be set."""

from pydantic import Field
from torch import Tensor

from ganzoo import Loss, LossConfig


class ExampleKeyConfig(LossConfig):
    """Settings of the loss: ``--set loss.margin=2``."""

    margin: float = Field(1.0, gt=0, description="scores beyond it, on the right side of zero, cost nothing")


class ExampleKey(Loss[ExampleKeyConfig]):
    """The discriminator stops at a margin from zero; the generator raises its scores (Geometric GAN, arXiv:1705.02894).

    Scores are logits of any shape, batch first.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return E[max(0, m - D(x))] + E[max(0, m + D(G(z)))] for the margin m."""
        margin = self.config.margin
        return (margin - real).relu().mean() + (margin + fake).relu().mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return -E[D(G(z))]; ``real`` is None unless the class says ``needs_real = True``."""
        return -fake.mean()
