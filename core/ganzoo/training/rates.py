"""Learning rates in tensors, as CUDA graphs need them, and as plain numbers, as checkpoints have them."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["hold_rates", "holds_rate", "note_rates", "portable", "set_rates"]


def hold_rates(optimizer: Optimizer, device: torch.device) -> list[Tensor]:
    """Let an optimizer read its learning rates from tensors, as graphs need it, and return those that it has now."""
    rates, gpu = [], device.type == "cuda"
    for group in optimizer.param_groups:
        if gpu and "capturable" in group:
            group["capturable"] = True
        # On the CPU only fused optimizers read a tensor without asking for its value.
        if (gpu and holds_rate(group)) or group.get("fused"):
            group["lr"] = torch.tensor(float(group["lr"]), dtype=torch.float32 if gpu else torch.float64, device=device)
            rates.append(group["lr"])
    for state in optimizer.state.values():
        if gpu and isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].to(device)
    # torch warns of steps outside of a capture, such as the first one.
    optimizer._warned_capturable_if_run_uncaptured = True
    return rates


def note_rates(optimizers: Iterable[Optimizer]) -> None:
    """Note the full rate of each group of parameters, which is the present one unless it was noted before."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])


def set_rates(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Set rates to the full ones times a factor.

    Multiplying the current rate instead would compound from step to step, and a resumed run would start from the rate
    that its checkpoint happened to hold.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # which a graph reads
                group["lr"].fill_(group["initial_lr"] * factor)
            else:
                group["lr"] = group["initial_lr"] * factor


def portable(state: Mapping[str, object]) -> dict[str, object]:
    """Return the state of an optimizer as checkpoints have it, whatever it was trained on: rates are plain numbers."""
    groups = state["param_groups"]
    assert isinstance(groups, list)
    plain = [
        {**group, "lr": float(group["lr"]), **({"capturable": False} if "capturable" in group else {})}
        for group in groups
    ]
    return {**state, "param_groups": plain}


def holds_rate(group: Mapping[str, object]) -> bool:
    """Return whether a group of an optimizer can read its learning rate from a tensor on a GPU."""
    return "capturable" in group or bool(group.get("fused"))
