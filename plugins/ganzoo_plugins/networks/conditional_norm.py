"""Batch norm whose weight and bias depend on a condition, and its statistics for averaged weights."""

import torch
from torch import Tensor, nn

from ganzoo import Generator, draw_inputs

__all__ = ["ConditionalBatchNorm2d", "SharedBatchNorm2d", "compute_standing_statistics"]

_BATCH = 64


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose weight and bias depend on the condition: for one label, a pair for each class.

    Several conditions add what each of them contributes to the weight, which starts at 1, and to the bias.
    (A Learned Representation for Artistic Style, arXiv:1610.07629; Modulating Early Visual Processing by Language,
    arXiv:1707.00683.)
    """

    def __init__(self, channels: int, code_size: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.affine = nn.Linear(code_size, 2 * channels, bias=False)
        nn.init.zeros_(self.affine.weight)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Normalize [N, C, H, W], then scale and shift it as the code, [N, K], says."""
        weight, bias = self.affine(code)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(bias, self.norm(x), 1 + weight)


class SharedBatchNorm2d(nn.Module):
    """Batch norm whose weight, 1 + W e, and bias, V e, are linear in an embedding e that all of them share.

    (BigGAN, arXiv:1809.11096, section 3.1.) W and V are layers of their own, which spectral norm divides each by its
    own norm; e may have a part of the latent behind it.
    """

    def __init__(self, channels: int, code_size: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.weight = nn.Linear(code_size, channels, bias=False)
        self.bias = nn.Linear(code_size, channels, bias=False)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Normalize [N, C, H, W], then scale and shift it as the code, [N, K], says."""
        weight, bias = self.weight(code)[:, :, None, None], self.bias(code)[:, :, None, None]
        return torch.addcmul(bias, self.norm(x), 1 + weight)


@torch.no_grad()
def compute_standing_statistics(generator: Generator, batches: int) -> None:
    """Set batch norm's running statistics to the mean over ``batches`` of 64 samples (BigGAN, arXiv:1809.11096).

    Those that training leaves behind are of other weights than the averaged ones, and of the last batches for the most
    part. The latents are always the same ones; labels and example attributes take turns.
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    device = next(generator.parameters()).device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # so each batch counts alike
        norm.train()
    inputs = draw_inputs(generator.signature, batches * _BATCH, 0)
    for batch in zip(*(part.split(_BATCH) for part in inputs), strict=True):
        generator(*(part.to(device) for part in batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
