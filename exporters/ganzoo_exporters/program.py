"""A network as torch's exporters take it, and what they say in one sentence."""

from __future__ import annotations

import copy
import inspect
import io
import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from ganzoo import GanzooError, Image, Mask, Signature

__all__ = ["exportable", "failures", "quiet"]


def exportable(
    network: nn.Module, signature: Signature, example: Sequence[Tensor]
) -> tuple[nn.Module, tuple[Tensor, ...], tuple[Any, ...]]:
    """Return what ``torch.export`` takes: a module that computes the same, its arguments, and their dynamic shapes.

    ``network`` is one with this signature, or what returns more of it than that says; it is not changed. Spectral
    norm and other parametrizations are folded into the weights. The batch is dynamic, and so are height and width of
    images that work in multiples.
    """
    module: nn.Module = copy.deepcopy(network)
    _fold_parametrizations(module)
    if {*module._modules, *module._parameters, *module._buffers} & set(dir(fx.GraphModule({}, fx.Graph()))):
        module = _Inside(module)
    # Weights in channels-last layout would add transposes to the graph, and the file would depend on the training.
    module.to(memory_format=torch.contiguous_format)
    shapes = _dynamic(signature)
    arguments = tuple(_larger(tensor, shape) for tensor, shape in zip(example, shapes, strict=True))
    return module, arguments, _nest(module, shapes)


class _Inside(nn.Module):
    """Puts a network one level down, since torch.export fails on parts of the top one called ``code`` or ``graph``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        """Apply the network."""
        return self.network(*inputs)


def _fold_parametrizations(network: nn.Module) -> None:
    """Replace spectral norm and the like by the weights they give.

    By hand, because torch's ``remove_parametrizations`` changes the class, and a deep copy shares it with its original.
    """
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            plain = parametrize.type_before_parametrizations(module)
            values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}  # type: ignore[union-attr]
            del module.parametrizations
            module.__class__ = plain
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _dynamic(signature: Signature) -> list[dict[int, Any]]:
    """Return the dimensions of every input that are not fixed."""
    batch, height, width = (torch.export.Dim(name) for name in ("batch", "height", "width"))
    multiples = {field.multiple for field in signature.inputs if isinstance(field, Image)} - {None}
    shapes: list[dict[int, Any]] = []
    for field in signature.inputs:
        shapes.append({0: batch})
        if isinstance(field, Image | Mask) and len(multiples) == 1:
            (multiple,) = multiples
            shapes[-1] |= {2: multiple * height, 3: multiple * width}
    return shapes


def _larger(tensor: Tensor, shape: Collection[int]) -> Tensor:
    """Return the tensor twice as high and wide if these may vary: for torch, a size of 1 inside is one that stays."""
    return tensor.repeat(1, 1, 2, 2) if 2 in shape else tensor


def _nest(network: nn.Module, shapes: list[Any]) -> tuple[Any, ...]:
    """Group what ``forward(self, z, *rest)`` takes as ``*rest``, as torch.export wants it."""
    for index, parameter in enumerate(inspect.signature(network.forward).parameters.values()):
        if parameter.kind is parameter.VAR_POSITIONAL and index < len(shapes):
            return (*shapes[:index], tuple(shapes[index:]))
    return tuple(shapes)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's exporter and onnxruntime's tools, which print, log and warn, mostly about themselves."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def failures(what: str) -> Iterator[None]:
    """Turn any exception into one sentence: the first line of its root cause."""
    try:
        yield
    except GanzooError:
        raise
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        lines = [line.strip() for line in str(root).splitlines() if line.strip()]
        raise GanzooError(f"{what}: {lines[0][:300] if lines else type(root).__name__}") from error
