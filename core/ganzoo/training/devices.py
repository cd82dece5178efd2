"""Devices by the names that users give them."""

import torch

from ganzoo.errors import UserError
from ganzoo_runtime.text import counted

__all__ = ["resolve_device"]


def resolve_device(name: str, local_rank: int | None = None) -> torch.device:
    """Return the device of that name; ``"auto"`` is CUDA, else MPS, else the CPU.

    Of several processes on a machine each has a GPU of its own, of the number ``local_rank``.
    Raises :class:`UserError` for an unknown device or one that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}; use auto, cpu, cuda or mps") from None
    if device.type == "cuda" and local_rank is not None:
        if device.index is not None:
            raise UserError(f"several processes take a GPU each, and {name} is one; use --device cuda")
        if 0 < torch.cuda.device_count() <= local_rank:
            count = torch.cuda.device_count()
            raise UserError(
                f"process {local_rank} of this machine finds {counted(count, 'GPU')}; start as many processes here"
            )
        device = torch.device("cuda", local_rank)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"there is no CUDA device {name!r} on this machine; use --device cpu, or auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("there is no MPS device on this machine; use --device cpu, or auto")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"unknown device {name!r}; use auto, cpu, cuda or mps")
    return device
