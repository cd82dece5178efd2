"""The Wasserstein distance between real and fake, by its dual."""

from torch import Tensor

from ganzoo import Loss

__all__ = ["Wasserstein", "WassersteinGP"]


class Wasserstein(Loss):
    """The critic maximizes E[D(x)] - E[D(G(z))] with its weights clipped (Wasserstein GAN, arXiv:1701.07875).

    Only differences of scores matter, so a score's sign means nothing.
    """

    critic_steps = 5
    betas = (0.0, 0.9)
    regularizers = {"weight_clip": {}}
    signed = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the negative estimate of the distance."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return -E[D(G(z))]."""
        return -fake.mean()


class WassersteinGP(Wasserstein):
    """The same with a gradient penalty instead of clipping (Improved Training of Wasserstein GANs,
    arXiv:1704.00028); the penalty is the regularizer ``gradient_penalty``, weight 10.
    """

    regularizers = {"gradient_penalty": {}}
