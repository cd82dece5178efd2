"""Conversion of a torch network to an ONNX graph with the signature's names and without paths or stack traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import torch
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn

from ganzoo import GanzooError, Network, Signature, StyleGenerator
from ganzoo_exporters.program import exportable, quiet
from ganzoo_exporters.rewrite import Rule, rewrite

__all__ = ["to_graph"]

_NORMAL, _UNIFORM = ("RandomNormal", "RandomNormalLike"), ("RandomUniform", "RandomUniformLike")
_RANDOM = {*_NORMAL, *_UNIFORM, "Bernoulli", "Multinomial", "Dropout"}
_FOLDED = {"Mul", "Pow", "ReduceSum", "Transpose"}
"""What of weights alone is computed in the exporter: equalized learning rates, norms, layouts."""
_INPUT, _OUTPUT = "ganzoo::input", "ganzoo::output"  # until every name of the graph is known


def to_graph(network: Network, example: Sequence[Tensor], rules: Sequence[Rule]) -> onnx.ModelProto:
    """Return the network as an ONNX model with the rules applied; the network itself is not changed.

    Its second output are the styles of a style-based generator. See :func:`ganzoo_exporters.program.exportable`. Raises
    :class:`~ganzoo.GanzooError` where the network draws random numbers inside or works for one batch size alone;
    torch's exporter raises what it likes.
    """
    returned: nn.Module = network
    outputs = ["sample"]
    if isinstance(network, StyleGenerator):
        returned, outputs = _WithStyles(network), ["sample", "styles"]
    module, arguments, shapes = exportable(returned, network.signature, example)
    with quiet():
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            verbose=False,
            input_names=[f"{_INPUT}{index}" for index in range(len(example))],
            output_names=[f"{_OUTPUT}{index}" for index in range(len(outputs))],
            dynamic_shapes=shapes,
        )
        assert program is not None
        # torch folds small constants alone, but the rules look for weights, and so does the rewriting for CPUs.
        fold_constants(program.model, output_size_limit=2**31, should_fold=lambda node: node.op_type in _FOLDED or None)
        rewrite(program.model, rules)
        model = program.model_proto
    _refuse_random(model)
    _rename(model.graph, network.signature, outputs)
    _strip(model)
    return model


class _WithStyles(nn.Module):
    """Returns of a style-based generator the samples, and the styles that they are drawn from."""

    def __init__(self, network: StyleGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the network."""
        styles = self.network.styles(*inputs)
        return self.network.drawn(styles), styles


def _refuse_random(model: onnx.ModelProto) -> None:
    graphs = [*_graphs(model.graph), *model.functions]
    if drawn := sorted({node.op_type for graph in graphs for node in graph.node} & _RANDOM):
        raise GanzooError(
            f"the network cannot be exported: it draws random numbers inside ({', '.join(drawn)}), and a sample could "
            "not be repeated; make the noise an input"
        )


def _rename(graph: onnx.GraphProto, signature: Signature, outputs: Sequence[str]) -> None:
    """Give inputs, outputs and batch their names; torch would not see that an inner value has the same name."""
    names = [field.name for field in signature.inputs]
    renames = {f"{_INPUT}{index}": name for index, name in enumerate(names)}
    for index, output in enumerate(outputs):
        while output in names:
            output += "_"
        renames[f"{_OUTPUT}{index}"] = output
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
