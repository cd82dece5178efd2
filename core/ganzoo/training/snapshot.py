"""What a run of a phase may change, found by walking through objects: to compare it, and to put it back."""

import random
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from logging import Logger
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganzoo.runs import checkpoint

__all__ = ["Snapshot"]

_INNER = re.compile(
    r"\.(?:_modules|_parameters|_buffers|__self__|cell_contents)\b"
)  # no part of the names that authors know

_Generators = (torch.Generator, random.Random, np.random.Generator)

_Restore = Callable[[], object]


class Snapshot:
    """The tensors and the Python state that can be reached from some objects, and the global random states.

    Followed are attributes, lists, dicts, closures and methods, so that a trainer leads to its networks, optimizers,
    losses and whatever an author keeps anywhere. Tensors are copied, :meth:`restore` puts everything back.
    """

    def __init__(self, roots: Mapping[str, object]) -> None:
        self._roots = dict(roots)
        self._places = dict(_walk(self._roots))
        # Copies of the containers' contents; what is in them is not copied.
        self._restores = [restore for place in self._places.values() if (restore := _restore(place.value)) is not None]
        self._random = checkpoint.random_state()
        places = [place for place in self._places.values() if isinstance(place.value, Tensor)]
        self.tensors: list[Tensor] = [place.value.detach() for place in places]
        """The tensors themselves."""
        self.copies = self.read()
        """What they held when the snapshot was taken."""
        self._groups = [place.group for place in places]

    def read(self) -> list[Tensor]:
        """Return copies of what the tensors hold now."""
        return [tensor.clone() for tensor in self.tensors]

    def restore(self) -> None:
        """Put back what was there when the snapshot was taken; gradients are dropped."""
        for restore in self._restores:
            restore()
        for tensor, copy in zip(self.tensors, self.copies, strict=True):
            tensor.copy_(copy)
        for place in self._places.values():
            if isinstance(place.value, nn.Parameter):
                place.value.grad = None
        checkpoint.restore_random_state(self._random)

    def changed(self) -> str:
        """Say what of the Python state is no longer as it was, the contents of tensors aside; empty if nothing."""
        now = dict(_walk(self._roots))
        for path, place in self._places.items():
            said = _INNER.sub("", path)
            if path not in now:
                return f"{said} is no longer there"
            if _equal(place.state, now[path].state):
                continue
            if isinstance(place.value, Tensor) and isinstance(now[path].value, Tensor):
                return f"{said} is replaced by a new tensor; change it in place, as with copy_()"
            if isinstance(place.value, _Generators):
                return f"{said} draws random numbers of its own; draw from torch's default generator"
            return f"{said} changes in Python; keep it in a tensor that is changed in place"
        new = next((path for path in now if path not in self._places), "")
        return f"{_INNER.sub('', new)} is added in Python; keep state in tensors, changed in place" if new else ""

    def distances(self, first: list[Tensor], second: list[Tensor] | None = None) -> dict[str, Tensor]:
        """Return the norm of the difference of two readings for each group of tensors; left out: that of one reading.

        A group is a network, one kind of an optimizer's moments, or a tensor that belongs to none.
        """
        squares: dict[str, Tensor] = {}
        for index, (group, value) in enumerate(zip(self._groups, first, strict=True)):
            value = value.float() if second is None else value.float() - second[index]
            square = value.square().sum()
            squares[group] = squares[group] + square if group in squares else square
        return {group: square.sqrt() for group, square in squares.items()}


class _Place:
    """Something that was found: a container, a tensor or another value, and the group of tensors that it is in."""

    __slots__ = ("group", "state", "value")

    def __init__(self, value: Any, group: str) -> None:
        self.value, self.group = value, group
        self.state = _state(value)


def _walk(roots: Mapping[str, object]) -> Iterator[tuple[str, _Place]]:
    """Yield everything once, by a path that reads like Python."""
    stack = [(name, "", value) for name, value in reversed(list(roots.items()))]
    seen: dict[int, object] = {}  # the objects too, as the identity of one that is gone is used again
    while stack:
        path, group, value = stack.pop()
        if isinstance(value, bool | int | float | complex | str | bytes | None):
            yield path, _Place(value, group)
            continue
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if not group and isinstance(value, nn.Module | torch.optim.Optimizer):
            group = f"{path}." if isinstance(value, torch.optim.Optimizer) else path
        if isinstance(value, Tensor):
            # Of an optimizer, moments of one kind are compared together.
            yield path, _Place(value, group + path.rpartition(".")[2] if group.endswith(".") else group or path)
            continue
        yield path, _Place(value, group)
        stack += [(f"{path}{name}", group, child) for name, child in reversed(list(_children(value)))]


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    match value:
        case dict():
            for index, (key, child) in enumerate(value.items()):
                yield f".{key if isinstance(key, str) else index}", child
        case list() | tuple() | deque():
            for index, child in enumerate(value):
                yield f"[{index}]", child
        case FunctionType():
            names = value.__code__.co_freevars
            yield from ((f".{name}", cell) for name, cell in zip(names, value.__closure__ or (), strict=True))
        case CellType():
            try:
                yield ".cell_contents", value.cell_contents
            except ValueError:  # not set yet
                return
        case MethodType():
            yield from ((".__self__", value.__self__), (".__func__", value.__func__))
        case partial():
            yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
        case (
            ModuleType()
            | type()
            | Logger()
            | torch.Generator()
            | random.Random()
            | np.random.Generator()
            | np.ndarray()
        ):
            return
        case _:
            for name, child in getattr(value, "__dict__", {}).items():
                yield f".{name}", child
            for cls in type(value).__mro__:
                slots = cls.__dict__.get("__slots__", ())
                for name in (slots,) if isinstance(slots, str) else slots:
                    if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                        yield f".{name}", getattr(value, name)


def _state(value: Any) -> Any:
    """Return what is compared: where a tensor is, plain values and random states, the kind of a container.

    What is in a container is compared at its own place.
    """
    match value:
        case Tensor():
            return value.data_ptr(), value.shape, value.stride(), value.dtype
        case torch.Generator():
            return value.get_state().numpy().tobytes()
        case np.ndarray():
            return value.shape, value.dtype, value.tobytes()
        case random.Random():
            return value.getstate()
        case np.random.Generator():
            return repr(value.bit_generator.state)
        case set() | frozenset():
            return frozenset(map(id, value))
        case dict() | list() | tuple() | deque() | MethodType() | CellType():
            return type(value)
    return value


def _restore(value: Any) -> _Restore | None:
    """Return a function that gives a container the contents, or a generator the state, that it has now."""
    match value:
        case dict():
            return partial(_refill, value, dict(value))
        case set():
            return partial(_refill, value, set(value))
        case list():
            return partial(value.__setitem__, slice(None), list(value))
        case deque():
            return partial(_refill, value, list(value))
        case CellType():
            try:
                return partial(setattr, value, "cell_contents", value.cell_contents)
            except ValueError:
                return None
        case torch.Generator():
            return partial(value.set_state, value.get_state())
        case random.Random():
            return partial(value.setstate, value.getstate())
        case np.random.Generator():
            return partial(setattr, value.bit_generator, "state", value.bit_generator.state)
        case np.ndarray():
            return partial(np.copyto, value, value.copy())
        case Tensor() | FunctionType() | ModuleType() | type() | Logger():
            return None
    attributes = getattr(value, "__dict__", None)
    return partial(_refill, attributes, dict(attributes)) if isinstance(attributes, dict) else None


def _refill(container: Any, contents: Any) -> None:
    container.clear()
    (container.extend if isinstance(container, deque) else container.update)(contents)


def _equal(first: Any, second: Any) -> bool:
    try:
        return first is second or (type(first) is type(second) and bool(first == second))
    except Exception:  # whatever an author's class makes of ==
        return False
