"""Conversion of a float32 model to float16 or int8. Inputs and output stay float32."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import ir

from ganzoo.files import writing
from ganzoo_exporters.program import quiet

__all__ = ["LEAST_PSNR", "Precision", "to_half", "to_integers"]

Precision = Literal["fp32", "fp16", "int8"]

LEAST_PSNR = 30.0
"""A file in integers is refused if its peak signal-to-noise ratio to torch is below this, in decibels."""

_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_NORMS = {f"{kind}Normalization" for kind in ("Batch", "Group", "Instance", "Layer", "RMS")}
"""Operators whose means and variances onnxruntime sums up in float32 whatever their input is (stash_type in ONNX)."""

_IN_FLOAT32 = {
    *("LpNormalization", "MeanVarianceNormalization", "Softmax", "LogSoftmax", "Exp", "Pow", "Sqrt", "Reciprocal"),
    *("LSTM", "ReduceSum", "ReduceMean", "ReduceL2", "ReduceSumSquare", "CumSum", "Range"),
}
"""Operators that lose too much in half precision: those that sum many numbers, or divide by small ones."""


def to_half(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Yield the model with weights and arithmetic in float16, each time with more of it left in float32.

    Powers and sums always stay in float32, and what is between squares and a root. Then everything up to the first,
    second and fourth layer with weights does too, since errors in the first layers are amplified by all that follow;
    and at last normalizations, which cost a conversion before and behind each. The whole model never stays in float32.
    """
    with _tools():
        from onnxruntime.transformers import float16
    named = onnx.ModelProto()
    named.CopyFrom(model)
    for index, node in enumerate(named.graph.node):
        node.name = f"{node.op_type}_{index}"
    _settle_statistics(named.graph)
    roots = _under_roots(named.graph)
    layers = [index for index, node in enumerate(named.graph.node) if node.op_type in _LAYERS]
    firsts = (0, *(layers[kept - 1] + 1 for kept in (1, 2, 4) if kept < len(layers)))
    has_norms = any(node.op_type in _NORMS for node in named.graph.node)
    for norms in (set[str](), _NORMS) if has_norms else (_NORMS,):
        for first in firsts:
            half = onnx.ModelProto()
            half.CopyFrom(named)
            with quiet():
                half = float16.convert_float_to_float16(
                    half,
                    keep_io_types=True,
                    op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *sorted(_IN_FLOAT32 | norms)],
                    node_block_list=[*roots, *(node.name for node in half.graph.node[:first])],
                )
            yield _tidy(half)


def _settle_statistics(graph: onnx.GraphProto) -> None:
    """Multiply known variances and means of batch norms into scale and shift: float16 holds no small variance."""
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "BatchNormalization" or not {*node.input[1:]} <= arrays.keys():
            continue
        scale, shift, mean, variance = (
            numpy_helper.to_array(arrays[each]).astype(np.float64) for each in node.input[1:]
        )
        epsilon = next((each.f for each in node.attribute if each.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        # with a variance of 1 - epsilon nothing is left to divide by
        settled = (factor, shift - mean * factor, np.zeros_like(mean), np.full_like(variance, 1 - epsilon))
        for index, values in enumerate(settled, 1):  # new ones, since several may be one tensor in the file
            node.input[index] = f"{node.name}::{index}"
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.input[index]))


def _under_roots(graph: onnx.GraphProto) -> list[str]:
    """Return the names of nodes that are between squares and a root alone, such as StyleGAN2's demodulation.

    A square root of what float16 cannot hold any more, more than 65,504 or next to nothing, often fits.
    """
    squares, elsewhere, found = set[str](), {output.name for output in graph.output}, list[str]()
    for node in graph.node:
        if node.op_type == "Pow" or (node.op_type != "Sqrt" and not squares.isdisjoint(node.input)):
            squares.update(node.output)
    for node in reversed(graph.node):
        if node.op_type == "Sqrt" or (squares.issuperset(node.output) and elsewhere.isdisjoint(node.output)):
            found.append(node.name)
        else:
            elsewhere.update(node.input)
    return found


def to_integers(model: onnx.ModelProto, batches: Iterable[Mapping[str, NDArray[Any]]]) -> onnx.ModelProto:
    """Return the model quantized statically, with QDQ nodes: weights to int8 a channel, values to int8 a tensor.

    The range of a value is the whole range that it has over the batches. Clipping rare values would move the lower end
    of a ReLU away from 0; onnxruntime could then not fuse it with the convolution before it, at half the speed.
    """
    with _tools():
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(batches)

        def get_next(self) -> Mapping[str, NDArray[Any]] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder, _tools(), writing(Path(folder, "before.onnx"), f"to {folder}"):
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        onnx.save(model, before)
        quantize_static(
            before,
            after,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # Signed on both sides: unsigned values with signed weights overflow on processors without VNNI.
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return _tidy(onnx.load(after))


@contextmanager
def _tools() -> Iterator[None]:
    """Let onnxruntime's tools import each other by their top-level names, such as "models", only inside this block."""
    path = [*sys.path]
    import onnxruntime.transformers as tools

    sys.path[:] = [*path, *tools.__path__]
    try:
        with quiet():
            yield
    finally:
        sys.path[:] = path


def _tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sort the nodes, keep one of several that compute the same value, and delete inferred shapes.

    A cast to float16 that is followed by a cast back is removed.
    """
    nodes = {node.output[0]: node for node in model.graph.node}
    if len(nodes) < len(model.graph.node):  # the converter casts a value once for each of its users
        unique = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes.values()]
        del model.graph.node[:]
        model.graph.node.extend(unique)
    del model.graph.value_info[:]
    graph = ir.from_proto(model)
    graph.graph.sort()
    for node in graph.graph:
        if (half := _cast(node, ir.DataType.FLOAT)) is None or node.outputs[0].is_graph_output():
            continue
        producer = half.producer()
        if producer is not None and (full := _cast(producer, ir.DataType.FLOAT16)) is not None:
            node.outputs[0].replace_all_uses_with(full)
    RemoveUnusedNodesPass()(graph)
    tidy: onnx.ModelProto = ir.to_proto(graph)
    return tidy


def _cast(node: ir.Node, to: ir.DataType) -> ir.Value | None:
    """Return what a node casts, if it casts to that type."""
    casts = node.op_type == "Cast" and node.attributes["to"].as_int() == to
    return node.inputs[0] if casts else None
