"""A device that does not exist: tensors that lie on the CPU and say that they do not.

Code that writes ``device="cpu"`` or ``.cuda()`` fails on it as it would on a GPU, and no GPU is needed. Torch's own
``meta`` tensors and fake tensors have no values, so that code which reads one (``.item()``, ``if``, a mask as index)
fails on them although it works on every GPU. Here each tensor wraps a real one, and everything is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from ganzoo.errors import GanzooError, place, sentence
from ganzoo.testing.results import Fault, Skip

__all__ = ["DEVICE", "ElsewhereError", "PretendedTensor", "elsewhere", "pretending"]

DEVICE = torch.device("ipu", 0)
"""What the tensors say of themselves: a device that torch and its autocast know by name, and that no machine has."""

_OURS = (DEVICE.type, "meta")  # meta is what torch's C++ is told, which makes the likes of them there
_MIXING = ("aten::copy_", "aten::_foreach_copy_", "aten::lift_fresh", "aten::_to_copy")
_INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")


class ElsewhereError(RuntimeError):
    """Raised for what would fail on a GPU: a sentence."""


class PretendedTensor(Tensor):
    """A tensor on :data:`DEVICE`; its values are those of ``wrapped``, on the CPU."""

    wrapped: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> PretendedTensor:
        """Wrap a tensor."""
        made: PretendedTensor = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device("meta"),
        )
        made.wrapped = inner
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The device that does not exist."""
        return DEVICE

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute with what is wrapped; raises :class:`ElsewhereError` if another tensor is not on this device."""
        return _compute(func, args, kwargs or {})


@contextmanager
def pretending() -> Iterator[None]:
    """While entered, tensors can be made on :data:`DEVICE` and moved there; ``Module.to(DEVICE)`` does so."""
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    # A moved weight stays the same object, as on a real device: optimizers and trainers hold it.
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with _Mode(), _Values():  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)


@contextmanager
def elsewhere() -> Iterator[None]:
    """While entered, there is the pretended device, and what fails on it fails the check."""
    try:
        with pretending():
            yield
    except ElsewhereError as error:
        raise Fault(f"on a GPU it fails: {error}{place(error)}") from None
    except (GanzooError, Fault, Skip):
        raise
    except Exception as error:
        if "CUDA" in str(error) or "NVIDIA" in str(error):
            raise Fault(
                f"it asks for a GPU, wherever its input is: use the input's device, x.device{place(error)}"
            ) from None
        raise Skip(f"it cannot be tried on a device that does not exist: {sentence(error)[:200]}") from None


class _Mode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, which takes longer than all checks of a loss

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class _Values(TorchFunctionMode):
    """Values into tensors and out of them, where torch asks no dispatch mode: it makes constants on the CPU first."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (Tensor.tolist, Tensor.numpy) and isinstance(args[0], PretendedTensor):
            if func is Tensor.numpy:
                raise ElsewhereError("it reads a tensor by numpy(), which works on the CPU alone; call x.cpu() first")
            return args[0].wrapped.tolist()
        if func is Tensor.new_tensor and kwargs.get("device") is None:
            kwargs["device"] = args[0].device
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and device is not None:
            device = torch.device(device)
            if device.type in _OURS:
                function = torch.tensor if func is Tensor.new_tensor else func
                values = args[1:] if func is Tensor.new_tensor else args
                return function(*values, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    leaves = tree_leaves((args, kwargs))
    ours = any(isinstance(each, PretendedTensor) for each in leaves)
    target = kwargs.get("device")
    if target is not None:
        target = torch.device(target)
        if target.type not in ("cpu", *_OURS):
            raise ElsewhereError(f"it puts a tensor on {target}, wherever the others are; use their device, x.device")
    here = ours if target is None else target.type in _OURS
    if ours:
        _refuse_mixture(func, args, leaves)
    if here and any(isinstance(each, torch.Generator) and each.device.type == "cpu" for each in leaves):
        raise ElsewhereError("it draws from a generator on the CPU into a tensor on the device; draw without one")
    if not (ours or here):
        return func(*args, **kwargs)
    inner_args, inner = tree_map_only(PretendedTensor, lambda each: each.wrapped, (args, kwargs))
    if target is not None:
        inner["device"] = torch.device("cpu")
    result = func(*inner_args, **inner)
    if func._schema.name == "aten::copy_":
        return args[0]
    if not here:
        return result
    result = tree_map_only(Tensor, PretendedTensor, result)
    return return_and_correct_aliasing(func, args, kwargs, result) if ours else result


def _refuse_mixture(func: Any, args: Any, leaves: list[Any]) -> None:
    """Raise for tensors of two devices in one operation; a GPU takes single numbers and indices from the CPU."""
    name = func._schema.name
    if name in _MIXING:
        return
    if name in _INDEXING:
        leaves = tree_leaves((args[0], args[2:]))
    host = [each for each in leaves if isinstance(each, Tensor) and not isinstance(each, PretendedTensor)]
    changed = func._schema.is_mutable and any(args[0] is each for each in host)
    for each in host:
        if each.dim() or changed:
            raise ElsewhereError(
                f"a tensor {list(each.shape)} is on the CPU wherever the others are; make it with device=x.device, or "
                "move it there"
            )
