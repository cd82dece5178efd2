"""Mode seeking: images of different latents shall differ."""

from pydantic import Field
from torch import Tensor

from ganzoo import Generate, GeneratorRegularizer, RegularizerConfig, own_rows, whole_batch

__all__ = ["ModeSeeking", "ModeSeekingConfig"]

_SMALLEST = 1e-5  # the authors' code has the same


class ModeSeekingConfig(RegularizerConfig):
    """Settings of mode seeking."""

    weight: float = Field(1.0, ge=0, description="weight of the penalty")


class ModeSeeking(GeneratorRegularizer[ModeSeekingConfig]):
    """d(z1, z2) / d(G(c, z1), G(c, z2)) (Mode Seeking GANs for Diverse Image Synthesis, arXiv:1903.05628, eq. 3).

    The paper maximizes the inverse of this ratio and its code minimizes this one, which is done here. Distances are
    mean absolute differences over the batch. It is for conditional generators that ignore their latent: each sample is
    drawn with its own latent and with that of the sample before it, for the same condition c.
    """

    def penalty(self, generate: Generate, z: Tensor) -> Tensor:
        """Return the ratio of the distances of latents and of samples."""
        other = own_rows(whole_batch(z).roll(1, 0))
        apart = _mean((generate(z) - generate(other)).abs()) / _mean((z - other).abs())
        return 1 / (apart + _SMALLEST)


def _mean(x: Tensor) -> Tensor:
    """Return the mean over all samples of the batch."""
    return whole_batch(x.mean()[None]).mean()
