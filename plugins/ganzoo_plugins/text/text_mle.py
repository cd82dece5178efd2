"""A language model by maximum likelihood: what every GAN of text is compared with."""

from collections.abc import Sequence

from ganzoo import Phase
from ganzoo_plugins.text.common import TextConfig, TextTrainer

__all__ = ["TextMLE"]


class TextMLE(TextTrainer[TextConfig]):
    """An LSTM trained to predict each token from those before it.

    At lower temperatures its samples are better and less varied; Language GANs Falling Short (arXiv:1811.02549) found
    it ahead of GANs along that whole curve. So compare a GAN with it at the temperature at which it is as good.
    """

    defaults = {
        "steps": 2_000,  # 13 epochs of 10,000 sentences; with many more it learns them by heart
        "batch_size": 64,
        "ema": 0.99,
        "clip_grad": 5.0,
        "lr_schedule": "linear",
        "data": {"name": "grammar"},
    }

    def phases(self) -> Sequence[Phase]:
        """One step by maximum likelihood."""
        return [Phase("generator", self.likelihood_loss, updates=("generator",))]
