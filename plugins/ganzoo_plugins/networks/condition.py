"""Conditions as vectors, and a generator that is given one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ganzoo import Attributes, Generator, Label, Latent, Signature

__all__ = ["Code", "Embedding", "JoinedGenerator", "OneHot", "planes"]


class OneHot(nn.Module):
    """Conditions as one vector: a one-hot vector for each label, other vectors as they are, in their order."""

    def __init__(self, conditions: Sequence[Label | Attributes | Latent]) -> None:
        super().__init__()
        self.classes = [field.classes if isinstance(field, Label) else None for field in conditions]
        self.size = sum(field.classes if isinstance(field, Label) else field.shape[0] for field in conditions)

    def forward(self, *conditions: Tensor) -> Tensor:
        """Map labels int64 [N] and attributes float32 [N, dim] to [N, size]."""
        parts = [
            part
            if classes is None
            else (part.unsqueeze(1) == torch.arange(classes, device=part.device)).to(torch.get_default_dtype())
            for classes, part in zip(self.classes, conditions, strict=True)
        ]
        return torch.cat(parts, 1)


class Embedding(nn.Module):
    """Conditions as one learned vector: an embedding of each label, a linear map of each attribute vector, joined."""

    def __init__(self, conditions: Sequence[Label | Attributes], dim: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Embedding(field.classes, dim) if isinstance(field, Label) else nn.Linear(field.dim, dim)
            for field in conditions
        )
        self.size = dim * len(self.parts)

    def forward(self, *conditions: Tensor) -> Tensor:
        """Map labels int64 [N] and attributes float32 [N, dim] to [N, size]."""
        return torch.cat([part(condition) for part, condition in zip(self.parts, conditions, strict=True)], 1)


Code = OneHot | Embedding
"""Either way of making one vector of all conditions."""


class JoinedGenerator(Generator):
    """A generator of flat latents that is given the condition: its code is joined to the latent.

    ``inner`` makes the generator that takes both, given their size.
    """

    def __init__(
        self,
        latent: Latent,
        conditions: Sequence[Label | Attributes | Latent],
        code: Code,
        inner: Callable[[int], Generator],
    ) -> None:
        network = inner(latent.shape[0] + code.size)
        super().__init__(Signature((latent, *conditions), network.signature.output))
        self.encode = code
        self.inner = network

    def forward(self, z: Tensor, *conditions: Tensor) -> Tensor:
        return self.inner(torch.cat([z, self.encode(*conditions)], 1))


def planes(code: Tensor, like: Tensor) -> Tensor:
    """Return [N, K] as constant planes [N, K, H, W] of the size of ``like``."""
    return code[:, :, None, None].expand(-1, -1, *like.shape[2:])
