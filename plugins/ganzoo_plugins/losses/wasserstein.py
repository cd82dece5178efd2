"""The Wasserstein-1 distance between real and fake samples, in its dual form."""

from torch import Tensor

from ganzoo import Loss

__all__ = ["Wasserstein", "WassersteinGP"]


class Wasserstein(Loss):
    """The critic maximizes E[D(x)] - E[D(G(z))] with its weights clipped (Wasserstein GAN, arXiv:1701.07875).

    Only differences of scores matter, so a score's sign means nothing.
    """

    # The estimate of the distance is only as good as the critic, so it is trained more often than the generator
    # (algorithm 1, n_critic = 5). Momentum made training unstable (section 4), hence beta1 = 0; (0, 0.9) are the
    # values of WGAN-GP for Adam.
    critic_steps = 5
    betas = (0.0, 0.9)
    # The dual form holds for Lipschitz critics alone; without one of the two regularizers the critic is unbounded.
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
