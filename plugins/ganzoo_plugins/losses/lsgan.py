"""Least squares instead of cross entropy."""

from torch import Tensor

from ganzoo_plugins.losses.labeled import LabeledLoss, SmoothedLabelConfig

__all__ = ["LeastSquares"]


class LeastSquares(LabeledLoss[SmoothedLabelConfig]):
    """Squared distance of scores from labels (Least Squares Generative Adversarial Networks, arXiv:1611.04076, eq. 9).

    Discriminator: E[(D(x) - 1)^2]/2 + E[D(G(z))^2]/2; generator: E[(D(G(z)) - 1)^2]/2: the coding a = 0, b = c = 1. The
    scores are raw, so the border between real and fake is 0.5. With ``smoothing`` s the label of real samples is 1 - s
    for the discriminator alone: the one-sided smoothing of arXiv:1606.03498, section 3.4, which is about cross entropy.
    """

    # The labels are 1 and 0, so the decision border is 0.5 and the sign of a score does not classify.
    signed = False

    def as_real(self, scores: Tensor) -> Tensor:
        """Return half the squared distance from 1 - smoothing."""
        return (scores - (1 - self.config.smoothing)).square() / 2

    def as_fake(self, scores: Tensor) -> Tensor:
        """Return half the square."""
        return scores.square() / 2

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return half the mean squared distance of fake scores from 1."""
        # Never smoothed: the generator aims at c = 1, the label of real samples without smoothing.
        return (fake - 1).square().mean() / 2
