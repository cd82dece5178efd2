"""Checks of a checkpoint's state against the state of a newly built training, before any of it is loaded.

A file from outside may hold anything, and code that uses it does not check: a fused optimizer writes over the whole
size of its parameters, even where the moments it was given are smaller. So every key, number and tensor must match one
in the newly built training, and every tensor is copied into memory with the same layout.
"""

import copy
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor

__all__ = ["conformed", "conformed_optimizer", "state_after_a_step"]


def conformed(found: Any, expected: Any, where: str) -> Any:
    """Return a copy of ``found`` in the form of ``expected``, which the fresh training has in its place.

    Mappings have the same keys, tuples the same length, tensors the same shape, numbers are finite. What is empty in
    the fresh training may have grown: None, a list and a mapping to any plain data, a tensor to any number of rows of
    the same shape. Raises ValueError that says ``where`` it is not so.
    """
    if expected is None or (isinstance(expected, list | Mapping) and not expected):
        return _plain(found, where)
    match expected:
        case Tensor():
            return _tensor(found, expected, where)
        case Mapping():
            _same_keys(found, expected, where)
            return {key: conformed(found[key], each, f"{where}.{key}") for key, each in expected.items()}
        case list() | tuple():
            if not isinstance(found, list | tuple):
                _refuse(where, "is no list")
            more = len(found) - len(expected)
            if more < 0 or (more and isinstance(expected, tuple)):  # a list may grow, a tuple is a record
                _refuse(where, f"has {len(found)} entries, not {len(expected)}")
            forms = [*expected, *expected[-1:] * more]
            pairs = enumerate(zip(found, forms, strict=True))
            return type(expected)(conformed(each, form, f"{where}.{index}") for index, (each, form) in pairs)
        case bool() | str():
            if type(found) is not type(expected):
                _refuse(where, f"is no {type(expected).__name__}")
        case int() | float():
            if isinstance(found, bool) or not isinstance(found, int | float) or not -(2.0**64) < found < 2.0**64:
                _refuse(where, "is no number in range")
        case _:
            _refuse(where, f"is a {type(expected).__name__}, which no checkpoint holds")
    return found


def conformed_optimizer(found: Any, expected: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a copy of an optimizer's state in the form of ``expected``, that of :func:`state_after_a_step`.

    A parameter that has had no gradient yet has no state. Raises ValueError as :func:`conformed` does.
    """
    _same_keys(found, expected, where)
    moments, groups = found["state"], found["param_groups"]
    if not isinstance(moments, Mapping) or not moments.keys() <= expected["state"].keys():
        _refuse(f"{where}.state", "is of other parameters")
    if not isinstance(groups, list) or len(groups) != len(expected["param_groups"]):
        _refuse(f"{where}.param_groups", "is of other groups")
    pairs = enumerate(zip(groups, expected["param_groups"], strict=True))
    return {
        "state": {
            key: conformed(each, expected["state"][key], f"{where}.state.{key}") for key, each in moments.items()
        },
        "param_groups": [_group(group, form, f"{where}.param_groups.{index}") for index, (group, form) in pairs],
    }


def state_after_a_step(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the form of the state that the optimizer has once it has stepped: that of a copy that makes a step."""
    # Optimizers create their state in the first step, so a new one has nothing to compare with. The copy makes a step
    # with zero gradients; the real parameters are not touched.
    twin = copy.deepcopy(optimizer)
    for group in twin.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    # Those made for CUDA graphs warn of steps outside of one.
    twin._warned_capturable_if_run_uncaptured = True
    twin.step()
    return twin.state_dict()


def _group(found: Any, expected: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of a group of parameters; an older torch knew fewer of them."""
    if not isinstance(found, Mapping) or found.get("params") != expected["params"]:
        _refuse(where, "is of other parameters")
    group: dict[str, Any] = conformed({**expected, **found}, expected, where)
    return group


def _tensor(found: Any, expected: Tensor, where: str) -> Tensor:
    _check_memory(found, where)
    dtypes = [torch.float32 if tensor.is_floating_point() else tensor.dtype for tensor in (found, expected)]
    if dtypes[0] != dtypes[1]:
        _refuse(where, f"is of {found.dtype}, not {expected.dtype}")
    grows = expected.dim() > 0 and not len(expected)
    if found.dim() != expected.dim() or found.shape[grows:] != expected.shape[grows:]:
        _refuse(where, f"has the shape {list(found.shape)}, not {list(expected.shape)}")
    like = expected.new_empty(found.shape) if grows else torch.empty_like(expected)
    return like.copy_(found.detach())


def _plain(found: Any, where: str) -> Any:
    """Return a copy of a value of unknown form, which must be plain data."""
    match found:
        case Tensor():
            _check_memory(found, where)
            return found.detach().clone(memory_format=torch.contiguous_format)
        case Mapping():
            return {key: _plain(each, f"{where}.{key}") for key, each in found.items()}
        case list() | tuple():
            return type(found)(_plain(each, f"{where}.{index}") for index, each in enumerate(found))
    if not isinstance(found, bool | int | float | str | None):
        _refuse(where, f"is a {type(found).__name__}, which no checkpoint holds")
    return found


def _check_memory(found: Any, where: str) -> None:
    """Refuse what is no ordinary tensor, or has more elements than its memory holds, as strides of 0 allow."""
    if not isinstance(found, Tensor):
        _refuse(where, "is no tensor")
    plain = type(found) is Tensor and found.layout == torch.strided and not found.is_quantized
    if not plain or found.untyped_storage().nbytes() < found.numel() * found.element_size():
        _refuse(where, "is no ordinary tensor")


def _same_keys(found: Any, expected: Mapping[Any, Any], where: str) -> None:
    if not isinstance(found, Mapping):
        _refuse(where, "is no mapping")
    for key in expected:
        if key not in found:
            _refuse(where, f"has no {key!r}")
    for key in found:
        if key not in expected:
            _refuse(where, f"has {str(key)[:80]!r}, which this model has not")


def _refuse(where: str, problem: str) -> NoReturn:
    raise ValueError(f"{where} {problem}")
