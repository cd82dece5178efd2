"""Mixed precision: networks compute in bfloat16, and everything between and around them in float32.

A phase runs under autocast (:class:`~ganzoo.Loop`). What a network returns is widened when it leaves it, so that
samples meet data, and scores meet losses, in one type. Penalties run outside of autocast, their passes through the
networks too: derivatives of derivatives, and norms that are compared with a number, need more than 8 bits.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["full_precision", "mixed_precision", "widened"]

_NARROW = (torch.bfloat16, torch.float16)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which nothing on the device is computed in less than float32."""
    # Where there is no autocast to leave, an exporter must not find a trace of it.
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that the loss of a phase is computed in, for the setting ``precision``."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, dtype=torch.bfloat16)


def widened(x: Tensor) -> Tensor:
    """Return in float32 what autocast has made narrower, and anything else as it is."""
    if isinstance(x, Tensor) and x.dtype in _NARROW and torch.is_autocast_enabled(x.device.type):
        return x.float()
    return x
