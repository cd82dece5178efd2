"""Mixed precision: networks compute in bfloat16, and everything between and around them in float32.

A phase runs under autocast (:class:`~ganzoo.Loop`). The output of a network is converted to float32, so that samples
have the type of the data, and scores the type that losses expect. Penalties run outside of autocast, including their
passes through the networks: second derivatives, and norms that are compared with a constant, need more than 8 bits.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["full_precision", "mixed_precision", "widened"]

_NARROW = (torch.bfloat16, torch.float16)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which nothing on the device is computed in less than float32."""
    # Only where autocast is on: a disabled autocast region would still be recorded in a traced or exported graph.
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that the loss of a phase is computed in, for the setting ``precision``."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, dtype=torch.bfloat16)


def widened(x: Tensor) -> Tensor:
    """Return a tensor that autocast has narrowed as float32, and anything else unchanged."""
    if isinstance(x, Tensor) and x.dtype in _NARROW and torch.is_autocast_enabled(x.device.type):
        return x.float()
    return x
