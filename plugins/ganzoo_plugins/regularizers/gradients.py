"""Functions shared by the regularizers on the gradient of the scores."""

import torch
from torch import Tensor, nn

from ganzoo import Score, UserError

__all__ = ["per_sample_gradient", "refuse_batch_norm"]


def per_sample_gradient(score: Score, x: Tensor) -> Tensor:
    """Return the gradient of each sample's score with respect to the sample, flattened [N, D], differentiable itself.

    ``x`` is [N, ...]. The gradient of the sum of all scores is taken, which holds each sample's own gradient if no
    score depends on another sample; of a map of scores, it is the gradient of its sum.
    """
    # A leaf: the penalty trains the scoring network alone, not the generator that made x.
    x = x.detach().requires_grad_()
    # create_graph, because the penalty on this gradient is itself differentiated with respect to the weights.
    (gradient,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
    return gradient.flatten(1)


def refuse_batch_norm(key: str, network: nn.Module, what: str = "discriminator that scores") -> None:
    """Raise :class:`~ganzoo.UserError` if the network has batch norm, which mixes the samples' gradients."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise UserError(
            f"{key} needs a {what} each sample by itself, and this one has batch norm; choose another loss, "
            f"leave it out with --without {key}, or take a model without batch norm in its {what.split()[0]}"
        )
