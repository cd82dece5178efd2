"""The loss of the first GAN paper, in the form that is used in practice."""

from torch import Tensor
from torch.nn.functional import softplus

from ganzoo_plugins.losses.labeled import CrossEntropy

__all__ = ["NonSaturating"]


class NonSaturating(CrossEntropy):
    """Cross entropy on logits; the generator maximizes log D(G(z)) (Generative Adversarial Networks, arXiv:1406.2661).

    Discriminator: -E[log D(x)] - E[log(1 - D(G(z)))]; generator: -E[log D(G(z))], section 3's alternative to the
    saturating minimax; D is the sigmoid of the score, and -log sigmoid(s) = softplus(-s).
    """

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return the cross entropy of fakes called real."""
        return softplus(-fake).mean()
