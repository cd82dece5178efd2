"""What a CUDA graph cannot hold, and a stand-in for CUDA graphs on any device.

A CUDA graph repeats kernels on the same memory; no Python runs, and nothing is known of values. :class:`Watch` finds
what does not fit in that. :class:`Tape` records torch's operations in place of kernels and runs them again on the same
memory, so that what holds for a graph can be tried where there is no GPU. It is not made to be fast.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["Tape", "Uncapturable", "Watch"]

_aten = torch.ops.aten
_INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")
_READS = "reads a value of a tensor (.item(), float(), if)"
_HOST = "takes numbers from the host's memory (torch.tensor, from_numpy, a list as index); use torch.full, arange ..."


class Uncapturable(Exception):
    """Says why something cannot be captured, as the end of a sentence that begins with its name."""


class Watch(TorchDispatchMode):
    """While entered, raises :class:`Uncapturable` for an operation that a CUDA graph cannot repeat."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self._numbers: list[Tensor] = []  # single numbers from the host, which fill_() alone may use

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, if it can be repeated."""
        kwargs = kwargs or {}
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        self._check(func, args, kwargs, inputs)
        result = func(*args, **kwargs)
        if func is _aten.lift_fresh.default:
            # A GPU takes a single number as an argument of the kernel, anything else is a copy that waits. On the CPU
            # torch.tensor(1.0) and the number in x[0] = 1.0 look the same until they are used.
            if result.dim() or result.device.type != "cpu":
                raise Uncapturable(_HOST)
            if self._device.type == "cpu":
                self._numbers.append(result)
        return result

    def _check(self, func: Any, args: Any, kwargs: Any, inputs: list[Tensor]) -> None:
        name = func._schema.name
        if torch.Tag.data_dependent_output in func.tags:
            raise Uncapturable(_READS)
        if name in _INDEXING:
            if any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1]):
                raise Uncapturable("selects by a mask, so that a shape depends on values; use torch.where")
        elif torch.Tag.dynamic_output_shape in func.tags:
            raise Uncapturable(f"makes a tensor whose shape depends on values ({name.removeprefix('aten::')})")
        for each in tree_leaves((args, kwargs)):
            if isinstance(each, torch.Generator) and each is not torch.default_generator:
                raise Uncapturable("draws from a generator of its own; draw from torch's default generator")
        if func in (_aten._to_copy.default, _aten.copy_.default):
            target = args[0].device if func is _aten.copy_.default else kwargs.get("device") or args[0].device
            if target.type != inputs[-1].device.type:
                raise Uncapturable(_READS if target.type == "cpu" else _HOST)
        if func is not _aten.fill_.Tensor and any(_key(each) == _key(one) for each in inputs for one in self._numbers):
            raise Uncapturable(_HOST)


class Tape(Watch):
    """Records the operations of a function, its backward passes included, and runs them again."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._leaves: dict[int, Tensor] = {}  # what the function finds, by memory
        self._made: dict[int, Tensor] = {}  # what it makes; kept, so that no memory is used twice
        self._known: dict[int, Tensor] | None = None
        self._steps: list[tuple[Callable[..., Any], Any, Any, list[tuple[int, Tensor]]]] = []

    @classmethod
    def record(cls, function: Callable[[], object], device: torch.device) -> Callable[[], None]:
        """Run a function, which must leave its Python state as it was, twice; return what repeats the second run."""
        # What the first run finds is there to stay; what only the second one finds was made meanwhile.
        first, second = cls(device), cls(device)
        with first:
            function()
        second._known = first._leaves
        with second:
            function()
        return second.replay

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note it."""
        kwargs = kwargs or {}
        inputs = {_key(each): each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        if func is _aten.lift_fresh.default:  # a number, which Watch looks after
            self._made |= inputs
        for key, each in inputs.items():
            if key and key not in self._made and key not in self._leaves:
                if self._known is not None and key not in self._known:
                    raise Uncapturable("uses a tensor that is not the same in each run; change state in place")
                self._leaves[key] = each
        result = super().__torch_dispatch__(func, types, args, kwargs)
        outputs = list(enumerate(_tensors(result)))
        fresh = [(index, each.detach()) for index, each in outputs if _key(each) not in inputs or not _key(each)]
        self._made |= {_key(each): each for _, each in fresh if _key(each)}
        # Views share the memory that is written anew: there is nothing to repeat.
        if fresh or func._schema.is_mutable:
            args, kwargs = tree_map_only(Tensor, lambda each: each.detach(), (args, kwargs))
            self._steps.append((func, args, kwargs, fresh))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Run the operations again, on the same memory."""
        for func, args, kwargs, fresh in self._steps:
            outputs = _tensors(func(*args, **kwargs))
            for index, target in fresh:
                target.copy_(outputs[index])


def _tensors(result: Any) -> list[Tensor]:
    return [each for each in tree_leaves(result) if isinstance(each, Tensor)]


def _key(tensor: Tensor) -> int:
    """Return where a tensor's memory is; 0 if it has none."""
    return tensor.untyped_storage().data_ptr()
