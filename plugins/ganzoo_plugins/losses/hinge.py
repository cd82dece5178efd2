"""The hinge loss."""

from torch import Tensor
from torch.nn.functional import relu

from ganzoo_plugins.losses.labeled import LabeledLoss

__all__ = ["Hinge"]


class Hinge(LabeledLoss):
    """A margin of 1 on either side of 0 (Geometric GAN, arXiv:1705.02894; Spectral Normalization for GANs,
    arXiv:1802.05957, eq. 16 and 17).

    Discriminator: E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]; generator: -E[D(G(z))].
    """

    def as_real(self, scores: Tensor) -> Tensor:
        """Return how far the score is below 1, at least 0."""
        # Samples beyond the margin have no gradient, so the discriminator learns from the hard ones.
        return relu(1 - scores)

    def as_fake(self, scores: Tensor) -> Tensor:
        """Return how far the score is above -1, at least 0."""
        return relu(1 + scores)

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return -E[D(G(z))]."""
        # Linear, without a margin (eq. 17): the gradient stays the same however far the fakes are from real.
        return -fake.mean()
