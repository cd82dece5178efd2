"""The least squares loss whose optimum minimizes Pearson's chi-squared divergence."""

from torch import Tensor

from ganzoo import Loss


class Pearson(Loss):
    """Scores of real samples are pulled to 1 and of fake ones to -1; the generator pulls its own to 0.

    Least Squares Generative Adversarial Networks, arXiv:1611.04076, with a = -1, b = 1 and c = 0.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return 1/2 E[(D(x) - 1)^2] + 1/2 E[(D(G(z)) + 1)^2]."""
        return ((real - 1).square().mean() + (fake + 1).square().mean()) / 2

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return 1/2 E[D(G(z))^2]."""
        return fake.square().mean() / 2
