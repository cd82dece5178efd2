"""Graphs in the form that onnxruntime computes fastest on a CPU; results are equal up to rounding.

A file holds the form that suits all devices. What pays on CPUs alone is rewritten here when a file is opened on one, on
the bytes that were checked, or written to a file that is meant for them. ``docs/deployment.md`` has the figures.
Weights are laid out as in ONNX: [out, in, k, k] for Conv, [in, out, k, k] for ConvTranspose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .file_checks import Model
from .limits import Node
from .protobuf import as_message, fields_of, part, varint

__all__ = ["POINTWISE", "for_cpu"]

POINTWISE = {"Clip", "Elu", "Gelu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Tanh"}
"""Operators that apply a function to each number of their first input; onnxruntime joins them with a convolution."""

_THIN = 4  # a convolution to so few channels is fastest as a transposed one
_WIDE = 16  # channels; a transposed convolution to fewer is fastest as it is
_STRIDES = (2, 3, 4)  # there are as many convolutions as pixels in a stride
_MANY, _HIGH, _ENOUGH = 64, 16, 2048  # channels, rows, and their product from which on Winograd's algorithm pays
_LARGE = 2**29  # bytes of a model; its weights may double, and a message of protobuf's ends at four times as many

Floats = NDArray[np.float32]


def _winograd() -> tuple[Floats, ...]:
    """Return A [4, 6], G [6, 3] and B [6, 6] of F(4, 3), and the shares of a bias in the six products.

    They are those of Toom and Cook, with points at which the error is half of that at 0, 1, -1, 2 and -2.
    """
    points = np.sqrt([0, 0.5, 0.5, 2, 2]) * [1, 1, -1, 1, -1]
    powers = [np.vstack([points[:, None] ** np.arange(n), np.eye(n)[-1]]) for n in (4, 3, 6)]  # the last at infinity
    rows, kernel, data = powers[0].T, powers[1], np.linalg.inv(powers[2]).T
    scale = np.abs(data).max(1, keepdims=True)
    bias = np.linalg.pinv(rows).sum(1)
    return tuple(each.astype(np.float32) for each in (rows, kernel * scale, data / scale, bias))


_ROWS, _KERNEL, _DATA, _BIAS = _winograd()


def for_cpu(model: Model, *, winograd: bool = False) -> bytes | None:
    """Return a checked model in the form for CPUs, or None where it has that form already.

    It needs at most a few times the memory that the model was found to need. ``winograd`` is for models that are opened
    and not written, as their weights become larger, and for x86, as it was measured with onnxruntime's kernels there.
    """
    size = sum(each.nbytes for _, each in model.inner if isinstance(each, memoryview))
    rewriting = _Rewriting(model, winograd=winograd and size <= _LARGE)
    nodes = rewriting.nodes()
    if not rewriting.weights:
        return None
    stored = zip(model.graph.weights, (each for number, each in model.inner if number == 5), strict=True)
    parts = [part(1, node) for node in nodes]
    parts += [part(5, as_message(each)) for weight, each in stored if weight.name in rewriting.used]
    parts += [part(5, weight) for weight in rewriting.weights]
    parts += [_field(number, each) for number, each in model.inner if number not in (1, 5)]
    graph = b"".join(parts)
    return b"".join(part(7, graph) if number == 7 else _field(number, each) for number, each in model.parts)


class _Rewriting:
    """The nodes of a model as they are for CPUs, the ``weights`` added for them, and the names of all that are used."""

    def __init__(self, model: Model, *, winograd: bool) -> None:
        self._winograd = winograd
        self.weights: list[bytes] = []
        self.used: set[str] = set(model.graph.outputs)
        self._graph, self._shapes = model.graph, model.shapes
        self._stored = {weight.name: weight for weight in model.graph.weights}
        self._uses = Counter([*model.graph.outputs, *(name for node in model.graph.nodes for name in node.inputs)])
        # Images of any size: their shapes are known for one of these sizes alone.
        self._fixed = not any(field.get("multiple") for field in model.document["signature"]["inputs"])
        taken = {*self._stored, *model.inputs, *(name for node in model.graph.nodes for name in node.outputs)}
        self._names = (name for name in map("cpu_{}".format, count()) if name not in taken)
        self._made: list[bytes] = []

    def nodes(self) -> list[bytes]:
        """Return the messages of all nodes; as onnx wants it, each value comes before its uses."""
        followers = {node.inputs[0]: node for node in self._graph.nodes if node.inputs and node.operator in POINTWISE}
        joined: set[int] = set()
        for node in self._graph.nodes:
            if id(node) in joined:
                continue
            follower = followers.get(node.outputs[0]) if self._uses[node.outputs[0]] == 1 else None
            if follower is not None and not {*follower.inputs[1:]} <= self._stored.keys():
                follower = None  # what else it takes may come after this node
            if node.operator == "Conv" and (self._thin_as_transposed(node) or self._by_winograd(node)):
                continue
            if node.operator == "ConvTranspose" and self._by_phases(node, follower):
                joined.add(id(follower))
                continue
            self._made.append(node.message)
            self.used.update(node.inputs)
        return self._made

    def _thin_as_transposed(self, node: Node) -> bool:
        """Make a convolution of stride 1 to few channels a transposed one, its kernel turned round."""
        if (found := self._plain(node)) is None:
            return False
        weight, strides, pads = found
        turned = [weight.shape[2 + axis % 2] - 1 - pad for axis, pad in enumerate(pads)]
        if strides != [1, 1] or not len(weight) <= _THIN < weight.shape[1] or min(turned) < 0:
            return False
        inputs = [node.inputs[0], self._weight(weight[:, :, ::-1, ::-1].swapaxes(0, 1)), *node.inputs[2:]]
        attributes = {"kernel_shape": weight.shape[2:], "strides": [1, 1], "pads": turned}
        self._add("ConvTranspose", inputs, node.outputs[0], **attributes)
        return True

    def _by_winograd(self, node: Node) -> bool:
        """Compute four rows of a 3x3 convolution at once, with half the multiplications (Winograd, arXiv:1509.09308).

        That is the paper's F(4, 3) along the height alone: y = A ((G w) * (B x)) makes four rows y of six rows x, where
        * is the convolution along the width. Along both it would be a quarter of them with several times the error,
        and, with all the data that onnxruntime's operators would have to move, no faster.
        """
        if not self._winograd or not self._fixed or (found := self._plain(node)) is None:
            return False
        weight, strides, (top, left, bottom, right) = found
        (outputs, inputs, *size), (entering, width) = weight.shape, self._shapes[node.inputs[0]][0][2:]
        height, width = entering + top + bottom - 2, width + left + right - 2
        few = min(outputs, inputs)
        if strides != [1, 1] or size != [3, 3] or outputs % 16 or inputs % 16:  # onnxruntime's blocks of channels
            return False
        if few < _MANY or height < _HIGH or few * height < _ENOUGH:
            return False
        bias = self._floats(node.inputs[2]) if node.inputs[2:] else None
        if node.inputs[2:] and bias is None:
            return False
        tiles, products = -(-height // 4), list[str]()
        for data, kernel, share in zip(_DATA, _KERNEL, _BIAS, strict=True):
            taps = self._weight(np.tile(data[:, None], (inputs, 1, 1, 1)))
            pads = [top, 0, 4 * tiles + 2 - entering - top, 0]
            value = self._add("Conv", [node.inputs[0], taps], group=inputs, strides=[4, 1], pads=pads)
            arguments = [value, self._weight(np.tensordot(weight, kernel, (2, 0))[:, :, None])]
            arguments += [] if bias is None else [self._weight(bias * share)]
            value = self._add("Conv", arguments, pads=[0, left, 0, right])
            products.append(self._reshape(value, [0, outputs * tiles, 1, width]))
        rows = self._add("MatMul", [self._weight(_ROWS), self._add("Concat", products, axis=2)])
        self._crop(rows, [0, outputs, 4 * tiles, width], [height, width], node.outputs[0])
        return True

    def _by_phases(self, node: Node, follower: Node | None) -> bool:
        """Make a transposed convolution of stride s a convolution for each of its s x s phases, which become pixels.

        As it is, it would be a matrix product for every sample, whose columns are then added to the pixels. A pointwise
        function behind it is applied to each phase, where onnxruntime computes both at once.
        """
        if (found := self._plain(node)) is None or not self._fixed or any(node.attributes.get("output_padding", [])):
            return False
        weight, strides, pads = found
        stride, channels, *size = strides[0], *weight.shape[1:]
        if strides[0] != strides[1] or stride not in _STRIDES or channels < _WIDE:
            return False
        if any(pad > size[axis % 2] - stride for axis, pad in enumerate(pads)):
            return False
        entering = self._shapes[node.inputs[0]][0][2:]
        leaving = [stride * (n - 1) + size[axis] - pads[axis] - pads[axis + 2] for axis, n in enumerate(entering)]
        # Of a phase; where the stride does not divide the output, the last ones reach beyond its edge
        height, width = sides = [-(-n // stride) for n in leaving]
        # Pixel s i + r adds weight[m] of pixel i + (r + pad - m) / s, where that is whole: m = (r + pad) % s + s t.
        phases = list[str]()
        for phase in product(range(stride), repeat=2):
            at = [divmod(each + pad, stride) for each, pad in zip(phase, pads, strict=False)]
            taps = [[*range(first, k, stride)][::-1] for (_, first), k in zip(at, size, strict=True)]
            kernel = self._weight(weight[:, :, taps[0]][:, :, :, taps[1]].swapaxes(0, 1))
            counts, laters = [*map(len, taps)], [later for later, _ in at]
            around = [n - 1 - later for n, later in zip(counts, laters, strict=True)]
            around += [later + n - before for later, n, before in zip(laters, sides, entering, strict=True)]
            value = self._add("Conv", [node.inputs[0], kernel, *node.inputs[2:]], kernel_shape=counts, pads=around)
            if follower is not None:
                source, value = value, next(self._names)
                self._made.append(_renamed(follower, source, value))
                self.used.update(follower.inputs)
            phases.append(value)
        # Interleaved first along rows, then along columns: three times as fast as one DepthToSpace.
        pixels = [self._reshape(each, [0, channels, height * width, 1]) for each in phases]
        lines = [self._add("Concat", pixels[i : i + stride], axis=3) for i in range(0, len(pixels), stride)]
        lines = [self._reshape(line, [0, channels * height, 1, width * stride]) for line in lines]
        whole, output = self._add("Concat", lines, axis=2), (follower or node).outputs[0]
        self._crop(whole, [0, channels, height * stride, width * stride], leaving, output)
        return True

    def _plain(self, node: Node) -> tuple[Floats, list[int], list[int]] | None:
        """Return weight, strides and pads of a convolution of maps in float32 without groups and dilation."""
        weight, attributes = self._floats(node.inputs[1]), node.attributes
        if weight is None or weight.ndim != 4:
            return None
        strides, pads = attributes.get("strides", [1, 1]), attributes.get("pads", [0] * 4)
        plain = attributes.get("group", [1]) == [1] and attributes.get("dilations", [1, 1]) == [1, 1]
        plain = plain and (len(strides), len(pads)) == (2, 4) and min(pads) >= 0 and "output_shape" not in attributes
        if not plain or node.words.get("auto_pad", "NOTSET") != "NOTSET":
            return None
        return weight, strides, pads

    def _floats(self, name: str) -> Floats | None:
        """Return a weight that is stored in float32."""
        stored = self._stored.get(name)
        if stored is None or stored.raw is None or stored.type != 1:
            return None
        return np.frombuffer(stored.raw, np.dtype("<f4")).reshape(stored.shape)

    def _add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: int | Sequence[int]) -> str:
        """Add a node, and return the name of its output."""
        output = output or next(self._names)
        self._made.append(_node(operator, inputs, output, **attributes))
        self.used.update(inputs)
        return output

    def _reshape(self, value: str, shape: Sequence[int], output: str = "") -> str:
        return self._add("Reshape", [value, self._weight(np.array(shape, np.int64))], output)

    def _crop(self, value: str, shape: Sequence[int], size: Sequence[int], output: str) -> None:
        """Reshape to maps, of which the output has the first rows and columns."""
        if [*shape[2:]] == [*size]:
            self._reshape(value, shape, output)
        else:
            limits = [self._weight(np.array(each)) for each in ([0, 0], size, [2, 3])]
            self._add("Slice", [self._reshape(value, shape), *limits], output)

    def _weight(self, values: NDArray[Any]) -> str:
        """Add a weight, and return its name."""
        name, kind = next(self._names), 7 if values.dtype == np.int64 else 1  # as ONNX numbers types
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        shape = b"".join(b"\x08" + varint(size) for size in values.shape)
        self.weights.append(shape + b"\x10" + varint(kind) + part(8, name.encode()) + part(9, data))
        return name


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> bytes:
    """Return a ``NodeProto`` with attributes that are integers or several of them, none of them negative."""
    parts = [part(1, name.encode()) for name in inputs] + [part(2, output.encode()), part(4, operator.encode())]
    for name, value in attributes.items():
        if isinstance(value, int):
            content = b"\x18" + varint(value) + b"\xa0\x01\x02"  # field 3, and in field 20 what kind it is
        else:
            content = b"".join(b"\x40" + varint(each) for each in value) + b"\xa0\x01\x07"  # field 8
        parts.append(part(5, part(1, name.encode()) + content))
    return b"".join(parts)


def _renamed(node: Node, source: str, output: str) -> bytes:
    """Return the node with another first input and output."""
    parts = [part(1, name.encode()) for name in (source, *node.inputs[1:])] + [part(2, output.encode())]
    others = fields_of(memoryview(node.message))
    return b"".join([*parts, *(_field(number, each) for number, each in others if number not in (1, 2, 3))])


def _field(number: int, content: memoryview | int) -> bytes:
    return varint(8 * number) + varint(content) if isinstance(content, int) else part(number, content)
