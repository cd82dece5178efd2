"""Weights, moments and averages that are divided among processes, by torch's FSDP2.

Each process keeps its rows of every weight, and all of a single number. A network has its whole weights while its
``forward()`` or its backward pass runs, and its gradients are added up and divided again behind that. Averages are no
more than parts; they are made whole where samples are drawn. What is saved is whole, so that a checkpoint says nothing
of how it was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from ganzoo.errors import UserError
from ganzoo.gan.networks import Network
from ganzoo.gan.trainer import Trainer
from ganzoo.training.engine import Engine

__all__ = ["AsIfDivided", "divide", "divided_state", "own", "replicas", "whole", "whole_state"]

_LARGE = 2**20
"""From so many weights on a block is a unit of its own; what is smaller is sent sooner together with others."""


def divide(trainer: Trainer, averages: Mapping[str, nn.Module], world: int) -> None:
    """Leave each process its part of all weights, which optimizers then hold; averages start as the weights are."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(trainer.device.type, (world,))
    parts: dict[Tensor, Tensor] = {}
    for network in trainer.networks.values():
        _keep_layout(network)
        before = dict(network.named_parameters())
        hooks = {module: module._load_state_dict_post_hooks.copy() for module in network.modules()}
        for unit, weights in _units(network).items():
            unit.register_forward_hook(_no_view)
            single = {weight for weight in weights if weight.dim() == 0}
            # Divided again behind each forward pass: only when they are made whole does torch see which are frozen.
            fully_shard(unit, mesh=mesh, reshard_after_forward=True, ignored_params=single)
            _replicate(unit, single, mesh)
        for module, kept in hooks.items():
            module._load_state_dict_post_hooks = kept  # those of FSDP look for parts where whole weights are loaded
        parts |= {before[key]: part for key, part in network.named_parameters()}
    for optimizer in trainer.optimizers.values():
        for group in optimizer.param_groups:
            group["params"] = [parts[each] for each in group["params"]]
            # In one operation torch steps parts by Adam alone.
            if group.get("fused") and not isinstance(optimizer, torch.optim.Adam):
                group["fused"] = False
    for name, average in averages.items():
        sources = dict(trainer.networks[name].named_parameters(remove_duplicate=False))
        taken = {source: nn.Parameter(source.detach().clone(), requires_grad=False) for source in sources.values()}
        for key in sources:
            _set(average, key, taken[sources[key]])


@torch.no_grad()
def own(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process has, which shares its memory; the tensor itself if it is whole."""
    part: Any = tensor
    local: Tensor = part.to_local() if _is_part(tensor) else tensor
    return local


def replicas(module: nn.Module) -> list[Tensor]:
    """Return the weights of a module that every process has the whole of."""
    parts: list[Any] = list(module.parameters())
    return [own(each) for each in parts if not _is_part(each) or each.placements[0].is_replicate()]


@contextmanager
def whole(modules: Iterable[nn.Module], device: torch.device | None = None, *, load: bool = False) -> Iterator[None]:
    """While entered, modules have whole weights in the place of parts, on the device or where they are.

    With ``load`` the parts are set to what the whole weights are at the end. All processes enter it together.
    """
    parts = {
        (module, key): part
        for module in modules
        for key, part in module.named_parameters(remove_duplicate=False)
        if _is_part(part)
    }
    wholes = {part: nn.Parameter(_whole(part, device), requires_grad=False) for part in dict.fromkeys(parts.values())}
    for (module, key), part in parts.items():
        _set(module, key, wholes[part])
    try:
        yield
        if load:
            for part, found in wholes.items():
                own(part).copy_(own(_divided(found.detach(), part)))
    finally:
        for (module, key), part in parts.items():
            _set(module, key, part)


def whole_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer with whole tensors on the CPU where it has parts; all processes call it."""
    cpu = torch.device("cpu")

    def of(value: Any) -> Any:
        return _whole(value, cpu) if _is_part(value) else value

    moments = {index: {key: of(value) for key, value in each.items()} for index, each in state["state"].items()}
    return {**state, "state": moments}


def divided_state(state: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Return a whole state with parts where the optimizer has parts of weights."""
    weights: Sequence[Tensor] = [each for group in optimizer.param_groups for each in group["params"]]

    def of(value: Any, weight: Tensor) -> Any:
        fits = _is_part(weight) and isinstance(value, Tensor) and value.shape == weight.shape
        return _divided(value, weight) if fits else value

    moments = {
        index: {key: of(value, weights[index]) for key, value in each.items()} for index, each in state["state"].items()
    }
    return {**state, "state": moments}


class AsIfDivided(Engine):
    """One process that refuses a phase which several that divide weights could not compute."""

    def __init__(self, trainer: Trainer) -> None:
        _refuse_networks(trainer)
        self.trainer = trainer

    @override
    def whole(self, rows: int, *, batch_norm: bool = True) -> AbstractContextManager[object]:
        return _Watched(self.trainer)


class _Watched(TorchFunctionMode):
    """While entered, weights may be used in their unit's forward() alone, and no loss has derivatives in it.

    Elsewhere they are divided; and they are so again by the time that such a derivative is derived. A unit inside of
    another runs as part of that.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self._names = {weight: name for name, network in trainer.networks.items() for weight in network.parameters()}
        self._regularizers = " or ".join(trainer.regularizers)
        self._units = [unit for network in trainer.networks.values() for unit in _units(network)]
        self._around: dict[Tensor, set[nn.Module]] = {}
        for unit in self._units:
            for weight in unit.parameters():
                self._around.setdefault(weight, set()).add(unit)
        self._running: list[nn.Module] = []

    def __enter__(self) -> _Watched:
        def begin(unit: nn.Module, *of_torch: Any) -> None:
            self._running.append(unit)

        def end(*of_torch: Any) -> None:
            self._running.pop()

        self._hooks = [
            hook
            for unit in self._units
            for hook in (
                unit.register_forward_pre_hook(begin),
                unit.register_forward_hook(end, always_call=True),
            )
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or raise :class:`~ganzoo.UserError`."""
        if func is torch.autograd.grad:
            who, without = self._regularizers, "leave it out with --without, or " if self._regularizers else ""
            raise UserError(
                f"shard=true is for losses without derivatives in them, and {who or 'this model'} takes some: {without}"
                "take shard=false"
            )
        result = func(*args, **kwargs or {})
        if isinstance(result, Tensor):
            for each in (*args, *(kwargs or {}).values()):
                around = self._around.get(each) if isinstance(each, nn.Parameter) else None
                if around is not None and not around.issubset(self._running):
                    raise UserError(
                        "shard=true is for weights that are used in forward() alone, and those of the "
                        f"{self._names[each]} are used elsewhere, by the model or a regularizer: take shard=false"
                    )
        return result


def _refuse_networks(trainer: Trainer) -> None:
    """Raise :class:`~ganzoo.UserError` for networks that cannot be divided."""
    if trainer.stages:
        raise UserError("shard=true is not for a model that grows")
    known: set[Tensor] = set()
    for name, network in trainer.networks.items():
        parameters = set(network.parameters())
        if known & parameters:
            raise UserError(f"shard=true is not for this model, whose {name} has weights of another network too")
        known |= parameters


def _units(network: nn.Module) -> dict[nn.Module, list[nn.Parameter]]:
    """Return the modules whose weights are made whole when their forward() runs, each with those, inner ones first.

    Beside the network itself these are networks inside of it, since a trainer may call them alone, and large blocks:
    what a ``ModuleList`` or a ``Sequential`` has.
    """
    named = [each for _, each in network.named_parameters(remove_duplicate=False)]
    shared = len(named) > len(set(named))
    units: dict[nn.Module, list[nn.Parameter]] = {}
    taken: set[nn.Parameter] = set()
    lists = [each for each in network.modules() if isinstance(each, nn.ModuleList | nn.Sequential)]
    blocks = {block for each in lists for block in each}
    for module in [network] if shared else reversed(list(network.modules())):
        weights = [each for each in module.parameters() if each not in taken]
        large = module in blocks and sum(each.numel() for each in weights) >= _LARGE
        if weights and (large or module is network or isinstance(module, Network)):
            units[module] = weights
            taken.update(weights)
    return units


def _is_part(value: object) -> bool:
    return hasattr(value, "full_tensor")  # a DTensor, whose import takes half a second that few trainings need


@torch.no_grad()
def _whole(part: Any, device: torch.device | None) -> Tensor:
    whole: Tensor = part.full_tensor()
    return whole.to(device)


def _divided(value: Tensor, like: Any) -> Tensor:
    from torch.distributed.tensor import distribute_tensor

    # All processes have the same value: nothing is sent.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _replicate(unit: nn.Module, single: set[nn.Parameter], mesh: Any) -> None:
    """Let all processes have weights that are single numbers, without rows that FSDP could divide.

    For optimizers they are parts like all others, which torch does not take together with plain tensors. While the
    unit's ``forward()`` runs they are plain, and their gradients are averaged as the backward pass reaches them.
    """
    from torch.distributed.tensor import Partial, Replicate, distribute_tensor

    copies = {
        each: nn.Parameter(
            distribute_tensor(each.detach(), mesh, [Replicate()], src_data_rank=None), each.requires_grad
        )
        for each in single
    }
    parts: dict[str, Any] = {
        key: copies[each] for key, each in unit.named_parameters(remove_duplicate=False) if each in single
    }

    def begin(*of_torch: Any) -> None:
        for key, part in parts.items():
            plain = part.redistribute(placements=part.placements).to_local(grad_placements=[Partial()])
            if plain.requires_grad:
                plain.register_hook(lambda gradient: gradient / mesh.size())
            _set(unit, key, plain)

    def end(*of_torch: Any) -> None:
        for key, part in parts.items():
            _set(unit, key, part)

    if parts:
        end()
        unit.register_forward_pre_hook(begin)
        unit.register_forward_hook(end, always_call=True)


def _keep_layout(network: nn.Module) -> None:
    """Let maps be in the layout that they have with weights in channels_last, which FSDP cannot divide.

    What is drawn for each value of a map, as by dropout, is drawn in the order of memory.
    """
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.contiguous()
            if parameter.dim() == 4:
                module.register_forward_hook(_channels_last)


def _channels_last(module: nn.Module, args: Any, output: Any) -> Any:
    if isinstance(output, Tensor) and output.dim() == 4:
        return output.contiguous(memory_format=torch.channels_last)
    return output


def _no_view(module: nn.Module, args: Any, output: Any) -> Any:
    """Return an output that is not a view, of which FSDP would lose sight where it is changed in place."""
    if isinstance(output, tuple):
        return tuple(_no_view(module, args, each) for each in output)
    return output.clone() if isinstance(output, Tensor) and output._is_view() else output


def _set(module: nn.Module, key: str, parameter: nn.Parameter) -> None:
    """Replace a parameter by its dotted name, as it is: parametrizations would take it for a value to be set."""
    path, _, name = key.rpartition(".")
    module.get_submodule(path)._parameters[name] = parameter
