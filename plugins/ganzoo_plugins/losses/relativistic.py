"""The relativistic pairing loss: each real sample against a fake one."""

from torch import Tensor
from torch.nn.functional import softplus

from ganzoo import Loss, UserError

__all__ = ["Relativistic"]


class Relativistic(Loss):
    """Cross entropy on score differences of pairs (The relativistic discriminator, arXiv:1807.00734: RSGAN; The GAN is
    dead; long live the GAN! A Modern GAN Baseline, arXiv:2501.05441, eq. 2: RpGAN).

    Discriminator: E[softplus(-(D(x) - D(G(z))))]; generator: E[softplus(-(D(G(z)) - D(x)))], the same with real and
    fake exchanged. It is not minus the discriminator's loss: this is the non-saturating form. Each score of the real
    batch is paired with the fake one at its place. Only differences matter, so a score's sign means nothing.
    """

    # The generator's loss depends on the real scores too, and only differences of scores have a meaning.
    needs_real = True
    signed = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the cross entropy of the real sample of each pair scoring higher."""
        return softplus(_difference(fake, real)).mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return the cross entropy of the fake sample of each pair scoring higher."""
        assert real is not None, "needs_real"
        return softplus(_difference(real, fake)).mean()


def _difference(first: Tensor, second: Tensor) -> Tensor:
    # Broadcasting [N] against [N, 1] would silently pair every real sample with every fake one.
    if first.shape != second.shape:
        raise UserError(
            f"the relativistic loss pairs scores of equal shapes, not {list(first.shape)} with {list(second.shape)}; "
            "let the discriminator score as many real as fake samples"
        )
    return first - second
