"""The saturating loss of the first GAN paper."""

from torch import Tensor
from torch.nn.functional import softplus

from ganzoo_plugins.losses.labeled import CrossEntropy

__all__ = ["Minimax"]


class Minimax(CrossEntropy):
    """One value function for both networks; the generator minimizes what the discriminator maximizes (Generative
    Adversarial Networks, arXiv:1406.2661).

    Discriminator: -E[log D(x)] - E[log(1 - D(G(z)))]; generator: E[log(1 - D(G(z)))], eq. 1 without the term that does
    not depend on it. It saturates: the generator's gradient, sigmoid(s) of each score s, vanishes where the
    discriminator is sure, which is why ``non_saturating`` is used in practice.
    """

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return E[log(1 - D(G(z)))], which is negative."""
        # log(1 - sigmoid(s)) = -softplus(s): in this form it stays finite where D is sure.
        return -softplus(fake).mean()
