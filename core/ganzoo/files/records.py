"""What pickles are read as: records in place of objects, and the memory of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from ganzoo.errors import UserError

if TYPE_CHECKING:
    import torch

__all__ = ["Record", "Storage", "entries", "refuse"]


@dataclass(eq=False)
class Record:
    """An object of a class that is not known here: the class's name, what it was made with, and its state."""

    name: str
    """Module and name of the class, or, of NVIDIA's persistent classes, the name alone."""
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    """What it holds as a dict, if its class is one."""

    def __repr__(self) -> str:
        return f"<Record {self.name}>"


def entries(value: Any) -> Mapping[Any, Any]:
    """Return what a dict, or a record in the place of one, holds by name: items and attributes; else nothing."""
    if isinstance(value, Record):
        state = value.state if isinstance(value.state, Mapping) else {}
        return {**value.items, **state}
    return value if isinstance(value, Mapping) else {}


class Storage:
    """The memory of tensors: a flat tensor of its own."""

    def __init__(self, dtype: torch.dtype, content: bytes | bytearray) -> None:
        import torch

        if len(content) % dtype.itemsize:
            refuse("a storage is cut short")
        buffer = content if isinstance(content, bytearray) else bytearray(content)
        self.flat = torch.frombuffer(buffer, dtype=dtype) if buffer else torch.empty(0, dtype=dtype)

    def tensor(self, offset: Any, size: Any, stride: Any) -> torch.Tensor:
        """Return a tensor on it; raises :class:`UserError` for one that reaches beyond it, or has more elements."""
        shape, steps = tuple(size), tuple(stride)
        if not all(type(each) is int and each >= 0 for each in (offset, *shape, *steps)) or len(shape) != len(steps):
            refuse("a tensor has a shape that is none")
        count, last = 1, offset
        for side, step in zip(shape, steps, strict=True):
            count, last = count * side, last + max(side - 1, 0) * step
        # With strides of 0 a few bytes would be a tensor of any size.
        if count and (count > self.flat.numel() or last >= self.flat.numel()):
            refuse("a tensor is larger than its memory")
        return self.flat.as_strided(shape, steps, offset) if count else self.flat.new_empty(shape)


def refuse(problem: str) -> NoReturn:
    """Raise :class:`UserError`."""
    raise UserError(problem)
