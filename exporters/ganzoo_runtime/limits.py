"""Limits on the memory and the computation of a graph, found without running it.

A file of a hundred bytes can ask for gigabytes. So onnxruntime opens a copy of the graph in which large weights are
inputs, every value is an output, and optimization is off: it infers all shapes in about a millisecond and computes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import onnxruntime as ort

from .errors import Refused
from .protobuf import part, varint

__all__ = ["MEMORY", "SMALL", "WORK", "Graph", "Node", "Shapes", "Weight", "check"]

MEMORY = 2**28
"""The most bytes that the values alive at a time may take for one sample; what is constant is always alive."""

WORK = 10**11
"""The most multiplications for one sample; moving a number counts as twenty."""

SMALL = 8 * 1024
"""Weights of more bytes are no sizes or indices, and do not matter to the inference of shapes."""

_BYTES = {
    "float": 4,
    "int64": 8,
    "int32": 4,
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "float16": 2,
    "bfloat16": 2,
    "double": 8,
}
_NUMBERS = {"float32": 1, "uint8": 2, "int64": 7}
_BATCH = 5  # beside a batch of 1, to see that everything grows with the batch and not with its square


@dataclass
class Weight:
    """An initializer: name, shape, type and bytes; the message it was read from, unless it is large or elsewhere.

    ``raw`` are its numbers as they lie in the file, little-endian, if they are written so.
    """

    name: str = ""
    shape: list[int] = field(default_factory=list)
    type: int = 0
    size: int = 0
    message: bytes = b""
    raw: memoryview | None = None


@dataclass
class Node:
    """An operator: the message it was read from, and what of it matters here: of attributes, integers and strings."""

    message: bytes
    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, list[int]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)


@dataclass
class Graph:
    """The parts of a graph that its sizes depend on."""

    nodes: list[Node] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    opsets: list[bytes] = field(default_factory=list)


Shapes = Mapping[str, tuple[list[int], int]]  # shape and bytes of each value by its name


def check(graph: Graph, signature: Mapping[str, Any]) -> Shapes:
    """Return the shape and the bytes of every value for one sample.

    Raises :class:`Refused` if the graph takes too much memory or time, or gives not what its signature says.
    """
    fields, output = signature["inputs"], signature["output"]
    known = {weight.name: (weight.shape, 0) for weight in graph.weights}
    one, several = (_infer(graph, fields, batch) for batch in (1, _BATCH))
    for name, (_, size) in one.items():
        # A product of a batch with itself grows with the square: harmless for one sample, deadly for a large request.
        if several[name][1] > _BATCH * size:
            raise Refused("has values that grow faster than the number of samples")
    inputs = {each["name"]: ([1, *each["shape"]], 0) for each in fields}
    shapes = {**known, **inputs, **one}
    memory = _memory(graph, shapes, {*inputs})
    if memory > MEMORY + 4 * sum(weight.size for weight in graph.weights):  # int8 weights become float32
        raise Refused(f"needs {memory / 2**20:,.0f} MiB for one sample, more than the limit of {MEMORY // 2**20}")
    if (work := sum(_work(node, shapes) for node in graph.nodes)) > WORK:
        raise Refused(f"takes {work:.0e} multiplications for one sample, more than the limit of {WORK:.0e}")
    given = several.get(graph.outputs[0] if graph.outputs else "", ([], 0))
    wanted = [_BATCH, *(given[0][1:] if output["kind"] == "scores" else output["shape"])]
    if given != (wanted, prod(wanted) * _BYTES.get(output["dtype"], 4)):
        raise Refused("is inconsistent: the output of its graph is not that of its signature")
    return shapes


def _infer(graph: Graph, fields: Iterable[Mapping[str, Any]], batch: int) -> Shapes:
    """Return the shape of every value that the graph computes for so many samples."""
    names = [name for node in graph.nodes for name in node.outputs if name]
    if not names:
        return {}
    inputs = [(each["name"], _NUMBERS[each["dtype"]], [batch, *each["shape"]]) for each in fields]
    inputs += [(weight.name, weight.type, weight.shape) for weight in graph.weights if not weight.message]
    parts = [part(1, node.message) for node in graph.nodes]
    parts += [part(5, weight.message) for weight in graph.weights if weight.message]
    parts += [part(2, b"sizes"), *(part(11, _value(*each)) for each in inputs)]
    parts += [part(12, part(1, name.encode())) for name in names]
    model = b"\x08\x0a" + part(7, b"".join(parts)) + b"".join(part(8, opset) for opset in graph.opsets)
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    # Constant folding would compute parts of the graph while it opens, which is what must not happen yet.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        outputs = session.get_outputs()
    except Exception as error:
        raise Refused(f"cannot be opened: {' '.join(str(error).split())[:300]}") from None
    shapes = {}
    for value in outputs:
        kind, shape = value.type.removeprefix("tensor(").removesuffix(")"), value.shape
        if kind not in _BYTES or not all(isinstance(size, int) and size >= 0 for size in shape) or len(shape) > 8:
            raise Refused("has values whose size cannot be known before they are computed")
        shapes[value.name] = (shape, prod(shape) * _BYTES[kind])
    return shapes


def _memory(graph: Graph, shapes: Shapes, varying: set[str]) -> int:
    """Return the most bytes that are alive at a time if the nodes are run in their order."""
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.nodes))
    alive = most = 0
    dying: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        sizes = {name: shapes[name][1] for name in node.outputs if name}
        alive += sum(sizes.values())
        most = max(most, alive + _workspace(node, shapes))
        # What does not depend on an input is folded into a constant and never freed; all else dies after its last use.
        if varying.intersection(node.inputs):
            varying.update(sizes)
            for name, size in sizes.items():
                end = last.get(name, index)
                dying[end] = dying.get(end, 0) + size
        alive -= dying.pop(index, 0)
    return most


def _workspace(node: Node, shapes: Shapes) -> int:
    """Return how many bytes a convolution lays its maps out in, or an LSTM the gates of all steps."""
    if node.operator == "LSTM":
        return 16 * prod(_shape(node.outputs[0], shapes)) if node.outputs and node.outputs[0] else 0
    if node.operator not in ("Conv", "ConvTranspose"):
        return 0
    kernel = prod(_shape(node.inputs[1], shapes)[1:])
    if node.operator == "ConvTranspose":
        return 4 * kernel * prod(_shape(node.inputs[0], shapes)[2:])
    return kernel * prod(_shape(node.outputs[0], shapes)[2:])


def _work(node: Node, shapes: Shapes) -> int:
    """Return about how many multiplications a node takes."""
    made, taken = (sum(prod(_shape(name, shapes)) for name in names if name) for names in (node.outputs, node.inputs))
    moved = 20 * (made + taken)
    match node.operator:
        case "Conv":
            return moved + made * prod(_shape(node.inputs[1], shapes)[1:])
        case "ConvTranspose":
            kernel = prod(_shape(node.inputs[1], shapes)[1:])
            maps = _shape(node.inputs[0], shapes)
            return moved + prod(maps) * kernel + 20 * prod(maps[2:]) * kernel
        case "MatMul" | "Gemm":
            first = _shape(node.inputs[0], shapes)
            inner = first[0] if node.attributes.get("transA") == [1] else first[-1] if first else 1
            return moved + made * inner
        case "LSTM":  # four gates, each of the input and of the state
            return moved + 4 * made * sum(_shape(name, shapes)[-1] for name in node.inputs[1:3])
        case "AveragePool" | "MaxPool":
            return moved + made * prod(node.attributes.get("kernel_shape", []))
    return moved


def _shape(name: str, shapes: Shapes) -> list[int]:
    if name not in shapes:
        raise Refused("is not an ONNX file, or it is cut short")
    return shapes[name][0]


def _value(name: str, kind: int, shape: Sequence[int]) -> bytes:
    """Return a ``ValueInfoProto``: a tensor of that type and shape."""
    sizes = b"".join(part(1, b"\x08" + varint(size)) for size in shape)
    return part(1, name.encode()) + part(2, part(1, b"\x08" + varint(kind) + part(2, sizes)))
