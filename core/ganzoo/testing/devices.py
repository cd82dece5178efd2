"""Checks that a model works on any device, on a pretended one: no GPU is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ganzoo.gan.networks import Network
from ganzoo.testing.bench import Bench, draw
from ganzoo.testing.pretended import DEVICE, PretendedTensor, elsewhere, pretending
from ganzoo.testing.results import Fault

__all__ = ["buffers", "devices"]

_USUAL = frozenset(vars(nn.Module()))
"""The attributes that every module has."""


def buffers(bench: Bench) -> None:
    """Networks keep every tensor as a parameter or a buffer, so that ``.to(device)`` takes it along."""
    loop = bench.loop()
    before = _unregistered(loop.trainer.networks)
    if not before:
        return
    loop.advance()
    after = _unregistered(loop.trainer.networks)
    # What a forward pass computes anew goes along by itself: the weight that torch's old weight_norm makes.
    kept = {name for name, value in before.items() if name in after and after[name] is value}
    loop = bench.loop()
    with pretending():
        loop.trainer.to(DEVICE)
    for name, value in _unregistered(loop.trainer.networks).items():
        if name not in kept or all(isinstance(each, PretendedTensor) for each in _tensors(value)):
            continue
        if any(isinstance(each, nn.Module) for each in tree_leaves(value)):
            raise Fault(
                f"{name} holds networks that are not registered; keep them in an nn.ModuleList or nn.ModuleDict"
            )
        raise Fault(
            f"the tensor {name} is neither a parameter nor a buffer, so that it stays on the CPU when the network is "
            "moved, and in no checkpoint; make it with register_buffer()"
        )


def devices(bench: Bench) -> None:
    """The phases and the networks compute on any device: none is written into the code."""
    loop = bench.loop()
    with elsewhere():
        loop.trainer.to(DEVICE)
        _take_along(loop.trainer.networks)  # the check of buffers is about these
        for phase in loop.phases:
            loop.differentiate(phase)
            loop.trainer.optimizers[phase.optimizer].zero_grad(set_to_none=True)
            if phase.after is not None:
                phase.after()
        with torch.no_grad():
            for network in loop.trainer.networks.values():
                if isinstance(network, Network):
                    network.eval()(*(part.to(DEVICE) for part in draw(network.signature, 3)))


def _unregistered(networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return, by name, the attributes with tensors or modules that the networks do not have registered."""
    modules = {id(module) for network in networks.values() for module in network.modules()}
    known = {id(each) for network in networks.values() for each in (*network.parameters(), *network.buffers())}

    def stray(value: Any) -> bool:
        if isinstance(value, nn.Module):
            return id(value) not in modules and bool(_tensors(value))
        return isinstance(value, Tensor) and id(value) not in known

    return {
        ".".join(part for part in (owner, path, key) if part): value
        for owner, network in networks.items()
        for path, module in network.named_modules()
        for key, value in vars(module).items()
        if key not in _USUAL and any(stray(each) for each in tree_leaves(value))
    }


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for each in tree_leaves(value):
        if isinstance(each, nn.Module):
            found += [*each.parameters(), *each.buffers()]
        elif isinstance(each, Tensor):
            found.append(each)
    return found


def _take_along(networks: Mapping[str, nn.Module]) -> None:
    for name, value in _unregistered(networks).items():
        owner, _, rest = name.partition(".")
        path, _, key = rest.rpartition(".")
        moved = tree_map_only((Tensor, nn.Module), lambda each: each.to(DEVICE), value)
        networks[owner].get_submodule(path).__dict__[key] = moved
