"""The Wasserstein-1 distance between real and fake samples, in its dual form."""

from pydantic import Field
from torch import Tensor

from ganzoo import Loss, LossConfig

__all__ = ["Wasserstein", "WassersteinConfig", "WassersteinGP"]


class WassersteinConfig(LossConfig):
    """Settings of the Wasserstein losses."""

    drift: float = Field(
        0.0, ge=0, description="weight of E[D(x)^2], which keeps scores near 0; ProGAN takes 0.001 (arXiv:1710.10196)"
    )


class Wasserstein(Loss[WassersteinConfig]):
    """The critic maximizes E[D(x)] - E[D(G(z))] with its weights clipped (Wasserstein GAN, arXiv:1701.07875).

    Only differences of scores matter, so a score's sign means nothing, and all scores may drift away together, unless
    ``drift`` holds them.
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
        """Return the negative estimate of the distance, and the drift term if there is one."""
        loss = fake.mean() - real.mean()
        return loss + self.config.drift * real.square().mean() if self.config.drift else loss

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return -E[D(G(z))]."""
        return -fake.mean()


class WassersteinGP(Wasserstein):
    """The same with a gradient penalty instead of clipping (Improved Training of Wasserstein GANs,
    arXiv:1704.00028); the penalty is the regularizer ``gradient_penalty``, weight 10.
    """

    regularizers = {"gradient_penalty": {}}
