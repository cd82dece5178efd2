"""A penalty on the discriminator's weights: half of their squared length."""

import torch
from torch import Tensor

from ganzoo import Bound, Regularizer


class L2(Regularizer):
    """1/2 ||w||^2 over all weights, with a gradient that an adaptive optimizer sees, unlike decoupled weight decay."""

    def penalty(self, score: Bound, real: Tensor, fake: Tensor) -> Tensor:
        """Return it for whatever is trainable; the samples do not matter."""
        weights = [weight for weight in score.network.parameters() if weight.requires_grad]
        return torch.stack([weight.square().sum() for weight in weights]).sum() / 2
