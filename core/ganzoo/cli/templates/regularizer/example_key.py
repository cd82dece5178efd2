"""A penalty on scores that drift away from zero."""

from pydantic import Field
from torch import Tensor

from ganzoo import Regularizer, RegularizerConfig, Score


class ExampleKeyConfig(RegularizerConfig):
    """Settings of the penalty; ``weight`` and ``interval`` are those of every regularizer."""

    weight: float = Field(1e-3, ge=0, description="weight of the penalty")
    fake: bool = Field(False, description="apply the penalty to fake samples too")


class ExampleKey(Regularizer[ExampleKeyConfig]):
    """E[D(x)^2] at real samples keeps scores near zero (Progressive Growing of GANs, arXiv:1710.10196, A.1)."""

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return the penalty without its weight, for samples [N, ...] without gradient."""
        value = score(real).square().mean()
        return value + score(fake).square().mean() if self.config.fake else value
