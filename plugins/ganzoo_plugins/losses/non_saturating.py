"""The loss of the first GAN paper, in the form that is used in practice."""

from torch import Tensor
from torch.nn.functional import softplus

from ganzoo import Loss

__all__ = ["NonSaturating"]


class NonSaturating(Loss):
    """Cross entropy on logits; the generator maximises log D(G(z)) (Generative Adversarial Networks, arXiv:1406.2661).

    Discriminator: -E[log D(x)] - E[log(1 - D(G(z)))]; generator: -E[log D(G(z))], section 3's alternative to the
    saturating minimax; D is the sigmoid of the score, and -log sigmoid(s) = softplus(-s).
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the sum of both cross entropies."""
        return softplus(-real).mean() + softplus(fake).mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return the cross entropy of fakes called real."""
        return softplus(-fake).mean()
