"""Nodes of an ONNX graph: reading their inputs and attributes, and inserting new nodes before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

__all__ = [
    "Array",
    "add_weight",
    "add_weights",
    "constant_of",
    "get_float",
    "get_int",
    "get_ints",
    "input_node",
    "insert",
    "insert_reshape",
    "plain_convolution",
    "sole_producer",
]

Array = NDArray[Any]


def plain_convolution(node: ir.Node, op_type: str) -> tuple[Array, Array | None, list[int], list[int]] | None:
    """Return weight, bias, strides and pads of a plain convolution of maps: no groups, no dilation."""
    if node.op_type != op_type or node.domain not in ("", "ai.onnx"):
        return None
    weight, bias = (constant_of(node.inputs[index]) if len(node.inputs) > index else None for index in (1, 2))
    if weight is None or weight.ndim != 4 or (bias is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        return None
    plain = get_int(node, "group", 1) == 1 and get_ints(node, "dilations", [1, 1]) == [1, 1]
    automatic = "auto_pad" in node.attributes and node.attributes["auto_pad"].as_string() != "NOTSET"
    if not plain or automatic or "output_shape" in node.attributes:
        return None
    return weight, bias, get_ints(node, "strides", [1, 1]), get_ints(node, "pads", [0] * 4)


def input_node(node: ir.Node, op_type: str | None = None) -> ir.Node | None:
    """Return the node that makes the first input, if nobody else uses it, and if it is of that kind."""
    producer = sole_producer(node.inputs[0])
    return producer if producer is not None and op_type in (None, producer.op_type) else None


def sole_producer(value: ir.Value | None) -> ir.Node | None:
    """Return the node that makes a value, if that is used once."""
    return None if value is None or value.is_graph_output() or len(value.uses()) > 1 else value.producer()


def constant_of(value: ir.Value | None) -> Array | None:
    """Return a constant value, or None if it is only known when the graph runs."""
    tensor = None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def get_int(node: ir.Node, name: str, default: int) -> int:
    """Return an attribute of the node, or the default where it has none of that name."""
    return node.attributes[name].as_int() if name in node.attributes else default


def get_float(node: ir.Node, name: str, default: float = 1.0) -> float:
    """Return an attribute of the node, or the default where it has none of that name."""
    return node.attributes[name].as_float() if name in node.attributes else default


def get_ints(node: ir.Node, name: str, default: Sequence[int] = ()) -> list[int]:
    """Return an attribute of the node, or the default where it has none of that name."""
    return [*(node.attributes[name].as_ints() if name in node.attributes else default)]


def insert(node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], attributes: Any) -> ir.Value:
    """Insert a node before ``node`` and return its output."""
    fresh = ir.node(op_type, inputs, attributes)
    node.prepend(fresh)
    return fresh.outputs[0]


def insert_reshape(node: ir.Node, value: ir.Value, shape: Sequence[int]) -> ir.Value:
    """Insert a Reshape of the value before ``node`` and return its output."""
    return insert(node, "Reshape", [value, add_weight(node, np.array(shape), np.int64)], {})


def add_weight(node: ir.Node, values: Array, dtype: Any = np.float32) -> ir.Value:
    """Return a new initializer of the node's graph."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    array, name = np.ascontiguousarray(values, dtype), f"{node.outputs[0].name}.weight"
    while name in graph.initializers:
        name += "_"
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape))
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    graph.register_initializer(value)
    return value


def add_weights(node: ir.Node, kernel: Array, bias: Array | None) -> list[ir.Value]:
    """Return new initializers for the weights of a convolution, of which the bias may be missing."""
    return [add_weight(node, kernel), *([] if bias is None else [add_weight(node, bias)])]
