"""Conversion of a torch network to an ONNX graph with the signature's names and without paths or stack traces."""

from __future__ import annotations

import copy
import inspect
import io
import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import onnx
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from ganzoo import GanzooError, Image, Mask, Network, Signature
from ganzoo_exporters.rewrite import Rule, rewrite

__all__ = ["quiet", "to_graph"]

_NORMAL, _UNIFORM = ("RandomNormal", "RandomNormalLike"), ("RandomUniform", "RandomUniformLike")
_RANDOM = {*_NORMAL, *_UNIFORM, "Bernoulli", "Multinomial", "Dropout"}
_INPUT, _OUTPUT = "ganzoo::input", "ganzoo::output"  # until every name of the graph is known


def to_graph(network: Network, example: Sequence[Tensor], rules: Sequence[Rule]) -> onnx.ModelProto:
    """Return the network as an ONNX model with the rules applied; the network itself is not changed.

    Spectral norm and other parametrizations are folded into the weights. The batch is dynamic, and so are height and
    width of images that work in multiples. Raises :class:`~ganzoo.GanzooError` where the network draws random numbers
    inside or works for one batch size alone; torch's exporter raises what it likes.
    """
    module: nn.Module = copy.deepcopy(network)
    _fold_parametrizations(module)
    if {*module._modules, *module._parameters, *module._buffers} & set(dir(fx.GraphModule({}, fx.Graph()))):
        module = _Inside(module)
    # Weights in channels-last layout would add transposes to the graph, and the file would depend on the training.
    module.to(memory_format=torch.contiguous_format)
    shapes = _dynamic(network.signature)
    with quiet():
        program = torch.onnx.export(
            module,
            tuple(_larger(tensor, shape) for tensor, shape in zip(example, shapes, strict=True)),
            dynamo=True,
            verbose=False,
            input_names=[f"{_INPUT}{index}" for index in range(len(example))],
            output_names=[_OUTPUT],
            dynamic_shapes=_nest(module, shapes),
        )
        assert program is not None
        rewrite(program.model, rules)
        model = program.model_proto
    _refuse_random(model)
    _rename(model.graph, network.signature)
    _strip(model)
    return model


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


def _refuse_random(model: onnx.ModelProto) -> None:
    graphs = [*_graphs(model.graph), *model.functions]
    if drawn := sorted({node.op_type for graph in graphs for node in graph.node} & _RANDOM):
        raise GanzooError(
            f"the network cannot be exported: it draws random numbers inside ({', '.join(drawn)}), and a sample could "
            "not be repeated; make the noise an input"
        )


def _rename(graph: onnx.GraphProto, signature: Signature) -> None:
    """Give inputs, output and batch their names; torch would not see that an inner value has the same name."""
    names = [field.name for field in signature.inputs]
    output = "sample"
    while output in names:
        output += "_"
    renames = {f"{_INPUT}{index}": name for index, name in enumerate(names)} | {_OUTPUT: output}
    graphs = list(_graphs(graph))
    inner = {name for each in graphs for node in each.node for name in (*node.input, *node.output)}
    inner |= {tensor.name for each in graphs for tensor in each.initializer}
    taken = inner | set(renames.values())
    for name in inner & set(renames.values()):
        fresh = name
        while fresh in taken:
            fresh += "_"
        taken.add(fresh)
        renames[name] = fresh
    for each in graphs:
        for value in (*each.input, *each.output, *each.initializer):
            value.name = renames.get(value.name, value.name)
        for node in each.node:
            node.input[:] = [renames.get(name, name) for name in node.input]
            node.output[:] = [renames.get(name, name) for name in node.output]
        del each.value_info[:]  # tools infer it again when they need it; under old names it breaks quantization
    for value in (*graph.input, *graph.output):
        size = value.type.tensor_type.shape.dim[0]
        if not size.dim_param:
            raise GanzooError(f"the network cannot be exported: it works for a batch of {size.dim_value} alone")
        size.dim_param = "batch"


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _graphs(inner)


def _strip(message: Any) -> None:
    """Remove the source paths, source lines and stack traces that torch writes into every part of the file."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)


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
