"""The relativistic average loss: is a sample more real than the others are on average?"""

from torch import Tensor
from torch.nn.functional import softplus

from ganzoo import Loss


class RelativisticAverage(Loss):
    """Cross entropy of scores minus the mean score of the other side (RaSGAN, arXiv:1807.00734).

    The discriminator minimizes E[softplus(m_f - D(x))] + E[softplus(D(G(z)) - m_r)], where m_r and m_f are the mean
    scores of real and of fake samples; the generator minimizes the same with real and fake exchanged.
    """

    needs_real = True  # the generator's loss looks at real scores too
    signed = False  # only differences count: the sign of a score means nothing

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return how little real samples stand out from the average of fake ones, and the reverse."""
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return the same with the parts exchanged."""
        assert real is not None, "needs_real"
        return self.discriminator(fake, real)
