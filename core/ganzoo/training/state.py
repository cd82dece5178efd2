"""What a checkpoint holds beside weights, and what has to be the same in all processes of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo.gan.trainer import Trainer
from ganzoo.runs import checkpoint
from ganzoo.runs.state_checks import conformed, conformed_optimizer, state_after_a_step
from ganzoo.training.engine import Engine
from ganzoo.training.rates import portable
from ganzoo.training.sharding import divided_state, replicas, whole_state

__all__ = ["agree", "conformed_state", "load_optimizers", "spread", "state_of"]


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Return the state of optimizers, of the trainer and of random generators, for a checkpoint."""
    return {
        "optimizers": {name: portable(whole_state(each.state_dict())) for name, each in trainer.optimizers.items()},
        "trainer": trainer.state_dict(),
        "random": checkpoint.random_state(trainer.device),
    }


def conformed_state(found: Any, trainer: Trainer, batch_size: int) -> dict[str, Any]:
    """Return the state of a checkpoint, checked against a trainer that has just been made; ValueError if it is other.

    Where no batch size is said, as in older checkpoints, it is ``batch_size``.
    """
    optimizers = {name: portable(whole_state(state_after_a_step(each))) for name, each in trainer.optimizers.items()}
    random = {**checkpoint.random_state(trainer.device), "cuda": []}  # a run may have started on another device
    rest = {"trainer": trainer.state_dict(), "random": random, "position": 0, "batch_size": 1}
    given = {"batch_size": batch_size} | (dict(found) if isinstance(found, Mapping) else {})
    kept = given.pop("optimizers", None)
    state: dict[str, Any] = conformed(given, rest, "state")
    for key, least in (("position", 0), ("batch_size", 1)):
        if type(state[key]) is not int or state[key] < least:
            raise ValueError(f"state.{key} is no number of batches or samples")
    if not isinstance(kept, Mapping) or kept.keys() != optimizers.keys():
        raise ValueError(f"state.optimizers is not of {', '.join(optimizers)}")
    state["optimizers"] = {
        name: conformed_optimizer(kept[name], form, f"optimizers.{name}") for name, form in optimizers.items()
    }
    return state


def load_optimizers(trainer: Trainer, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Load the states of optimizers; rates are those of the settings, which may have changed since, moments stay."""
    for name, optimizer in trainer.optimizers.items():
        # How weights are held may have changed too.
        groups = optimizer.param_groups
        kept: list[dict[str, Any]] = [
            {key: each[key] for key in ("initial_lr", "fused") if key in each} for each in groups
        ]
        optimizer.load_state_dict(divided_state(states[name], optimizer))
        for group, own_ones in zip(optimizer.param_groups, kept, strict=True):
            group.update(own_ones)


def spread(engine: Engine, trainer: Trainer, ema: Mapping[str, nn.Module]) -> None:
    """Give all processes the weights, averages and random numbers of the first one, but for weights that they share."""
    if engine.world == 1:
        return
    # The same seed and the same file give the same weights; to the bit, if the machines are not the same, by sending.
    for modules in (trainer.networks, ema):
        engine.broadcast(each for module in modules.values() for each in (*replicas(module), *module.buffers()))
    # Each has a GPU of another number, and all draw for the whole batch: from generators in one state.
    states = _generators(trainer.device)
    engine.broadcast(states)
    torch.set_rng_state(states[0])
    if trainer.device.type == "cuda":
        torch.cuda.set_rng_state(states[1], trainer.device)


def agree(engine: Engine, trainer: Trainer, ema: Mapping[str, nn.Module]) -> None:
    """Let all processes have the same buffers, those of the first, and check that the rest is equal.

    Raises :class:`~ganzoo.TrainingError` if weights, averages or random numbers are not.
    """
    if engine.world == 1:
        return
    engine.broadcast(buffer for module in (*trainer.networks.values(), *ema.values()) for buffer in module.buffers())
    for what, each in (("weights", trainer.networks), ("averaged weights", ema)):
        engine.compare((one for module in each.values() for one in replicas(module)), f"the {what}")
    engine.compare(_generators(trainer.device), "the random numbers")


def _generators(device: torch.device) -> list[Tensor]:
    """Return the states of torch's generators that a training on the device draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
