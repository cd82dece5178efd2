"""Adversarial Lipschitz regularization: finds the direction of the steepest score change and penalizes its slope."""

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ganzoo import Regularizer, RegularizerConfig, Score

__all__ = ["VirtualAdversarial", "VirtualAdversarialConfig"]


class VirtualAdversarialConfig(RegularizerConfig):
    """Settings of adversarial Lipschitz regularization."""

    weight: float = Field(10.0, ge=0, description="weight of the penalty")
    lipschitz: float = Field(1.0, gt=0, description="K: slopes up to this one have no penalty")
    shortest: float = Field(0.1, gt=0, description="shortest step from a sample; its length is random")
    longest: float = Field(10.0, gt=0, description="longest step from a sample")
    probe: float = Field(10.0, gt=0, description="xi: step length of the power iteration")
    iterations: int = Field(1, ge=1, description="power iterations that find the direction")

    @model_validator(mode="after")
    def _ordered(self) -> "VirtualAdversarialConfig":
        if self.shortest > self.longest:
            raise ValueError("shortest is to be at most longest")
        return self


class VirtualAdversarial(Regularizer[VirtualAdversarialConfig]):
    """E[max(0, abs(D(x) - D(x + r)) / ||r||_2 - K)^2] over real and fake x (Adversarial Lipschitz Regularization,
    first called Virtual Adversarial Lipschitz Regularization, arXiv:1907.05681).

    r is the step of random length, uniform in [shortest, longest], in the direction d in which the score changes most:
    from a random d of length 1, each power iteration takes the gradient of abs(D(x) - D(x + xi d)) with respect to d
    and scales it to length 1, as virtual adversarial training does (arXiv:1704.03976). This follows the authors' code
    and its settings, with one difference: that code clips x + r and x + xi d to [-1, 1], the range of its images; here
    they are clipped to the smallest and largest value in the batch, because a regularizer does not know the range.
    ||r|| is the length after clipping. r has no gradient. A map of scores counts by its sum.
    """

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean penalty over the real and the fake samples."""
        x = torch.cat([real, fake])
        low, high = x.aminmax()
        length = torch.rand(len(x), *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device)
        length = self.config.shortest + (self.config.longest - self.config.shortest) * length
        moved = _clipped(x + length * self._direction(score, x, low, high), low, high)
        # After clipping the step may be shorter than was drawn; the slope needs the true length.
        length = torch.linalg.vector_norm((moved - x).flatten(1), dim=1).clamp_min(1e-10)
        steepness = (_scores(score, x) - _scores(score, moved)).abs() / length
        # One-sided: a flatter score is allowed, unlike with the two-sided gradient penalty.
        return (steepness - self.config.lipschitz).clamp_min(0).square().mean()

    def _direction(self, score: Score, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return for each sample the direction of length 1 in which its score changes most."""
        with torch.no_grad():
            before = _scores(score, x)
        # At r = 0 the change has its minimum and no gradient, so the search starts at a random direction.
        direction = _unit(torch.rand_like(x) - 0.5)
        for _ in range(self.config.iterations):
            direction.requires_grad_()
            after = _scores(score, _clipped(x + self.config.probe * direction, low, high))
            (gradient,) = torch.autograd.grad((after - before).abs().sum(), direction)
            direction = _unit(gradient)
        return direction


def _clipped(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    # As the authors' framework has it, an element on the bound still has a gradient; clamp's is a half there, or none.
    return torch.where(x < low, low, torch.where(x > high, high, x))


def _scores(score: Score, x: Tensor) -> Tensor:
    """Return a score for each sample; the real and the fake half by themselves, as a condition may be bound to each."""
    return torch.cat([score(half).reshape(len(half), -1).sum(1) for half in x.chunk(2)])


def _unit(x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x.flatten(1), dim=1).clamp_min(1e-10)
    return x / norm.reshape(-1, *[1] * (x.dim() - 1))
