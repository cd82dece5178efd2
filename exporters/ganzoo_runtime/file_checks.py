"""Checks of a model file before onnxruntime opens it. A file from outside may have been made to do harm.

Its bytes are parsed here, field by field. Allowed are operators that only compute, weights in the file or beside it,
and metadata that fits its schema; functions and control flow are refused. Then :mod:`limits` limits the memory and the
computation that the graph would need.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from pathlib import Path

from . import limits
from .errors import ModelError, Refused
from .metadata import Document, read_document
from .protobuf import Field, as_message, as_text, fields_of, integers, malformed

__all__ = ["Model", "Source", "read", "read_model"]

Source = str | os.PathLike[str] | bytes

_PARTS = 1_000_000  # fields of protobuf in a file; reading so many takes a second or two
_NODES = 10_000
_RANK = 8
_ATTRIBUTE = 2**16  # no kernel, stride, pad or axis is larger
_POSITIVE = {"dilations", "group", "strides", "kernel_shape", "blocksize"}
# Bytes of an element by the number of its type: float, uint8, int8, int32, int64, bool, float16, double, bfloat16.
_TYPES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
_OPERATORS = frozenset(
    re.findall(
        r"\w+",
        """
        Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast
        CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace
        DequantizeLinear Div Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm
        GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish
        Hardmax Identity InstanceNormalization IsInf IsNaN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
        LogSoftmax LpNormalization MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg Not OneHot Or
        PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
        ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements
        ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
        Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
        """,
    )
)


def read(source: Source, name: str, limit: int) -> bytes:
    """Return the content of the file, unless it has more than ``limit`` bytes."""
    try:
        if isinstance(source, bytes):
            size = len(source)
        else:
            status = os.stat(source)
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                raise ModelError(f"{source!s} cannot be read: it is not a file")
            size = status.st_size
        if size > limit:
            raise ModelError(f"{name} has {size} bytes, more than the limit of {limit}")
        return source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ModelError(f"{source!s} cannot be read: {error.strerror or error}") from None


def read_model(content: bytes, name: str, folder: Path | None = None) -> Model:
    """Check the whole file and return what is in it. onnxruntime runs nothing of it, since it would trust the file.

    Weights may lie in other files of ``folder``, if one is given. Raises :class:`ModelError`, one sentence.
    """
    try:
        model = Model(folder).read(content)
        if model.text is None:
            raise Refused("has no ganzoo metadata: it was not exported by ganzoo")
        model.document = read_document(model.text, name)
        if model.inputs != [field["name"] for field in model.document["signature"]["inputs"]]:
            raise Refused("is inconsistent: the inputs of its graph are not those of its signature")
        model.shapes = limits.check(model.graph, model.document["signature"])
    except Refused as error:
        raise ModelError(f"{name} {error}") from None
    return model


@dataclass
class Model:
    """What is read of a model: a ``ModelProto`` of onnx.proto, whose numbers of fields are used below.

    ``parts`` are the fields of the model and ``inner`` those of its graph, in their order; views of the content.
    """

    folder: Path | None
    text: bytes | None = None
    inputs: list[str] = field(default_factory=list)
    graph: limits.Graph = field(default_factory=lambda: limits.Graph())
    document: Document = field(default_factory=dict)
    shapes: limits.Shapes = field(default_factory=dict)
    parts: list[Field] = field(default_factory=list)
    inner: list[Field] = field(default_factory=list)
    _left: int = _PARTS

    def read(self, content: bytes) -> Model:
        """Read and check all but the metadata; raises :class:`Refused`."""
        # protobuf merges repeated messages: with two graphs, a parser that takes the last one would check another graph
        # than the one that onnxruntime runs. The same holds for tensors of an attribute, below.
        self.parts = self._fields(memoryview(content))
        graphs = [as_message(part) for number, part in self.parts if number == 7]
        if len(graphs) != 1:
            raise malformed()
        for number, part in self.parts:
            match number:
                case 8:
                    opset = dict(self._fields(as_message(part)))
                    if as_text(opset.get(1, b"")) not in ("", "ai.onnx"):
                        raise Refused(f"needs operators of {as_text(opset[1])!r}, which are not ONNX's own")
                    self.graph.opsets.append(bytes(as_message(part)))
                case 14:
                    entry = dict(self._fields(as_message(part)))
                    if as_text(entry.get(1, b"")) == "ganzoo":
                        self.text = bytes(as_message(entry.get(2, b"")))
                case 20 | 25:  # training, functions
                    raise Refused("has functions or a training graph of its own, which a file of ganzoo's never has")
        self.inner = self._fields(graphs[0])
        for number, part in self.inner:
            match number:
                case 1:
                    self._node(as_message(part))
                case 5:
                    self.graph.weights.append(self._tensor(as_message(part)))
                case 11:
                    self.inputs.append(as_text(dict(self._fields(as_message(part))).get(1, b"")))
                case 12:
                    self.graph.outputs.append(as_text(dict(self._fields(as_message(part))).get(1, b"")))
                case 15:
                    raise Refused("has sparse weights, which a file of ganzoo's never has")
        return self

    def _node(self, message: memoryview) -> None:
        node = limits.Node(bytes(message))
        operator = domain = ""
        for number, part in self._fields(message):
            match number:
                case 1:
                    node.inputs.append(as_text(part))
                case 2:
                    node.outputs.append(as_text(part))
                case 4:
                    operator = as_text(part)
                case 5:
                    self._attribute(as_message(part), node)
                case 7 | 8:
                    domain = domain or as_text(part)
        # A list of what is allowed, not of what is forbidden: a new version of onnxruntime may add operators that read
        # files or run subgraphs.
        if domain not in ("", "ai.onnx") or operator not in _OPERATORS:
            what = f"{domain}.{operator}" if domain else operator
            raise Refused(f"cannot be opened: it has the operator {what[:80]!r}, which a file of ganzoo's never has")
        node.operator = operator
        self.graph.nodes.append(node)
        if len(self.graph.nodes) > _NODES:
            raise Refused(f"has more than {_NODES} operators")

    def _attribute(self, message: memoryview, node: limits.Node) -> None:
        name, word, numbers, tensors = "", None, list[int](), list[memoryview]()
        for number, part in self._fields(message):
            match number:
                case 1:
                    name = as_text(part)
                case 3 | 8:
                    numbers += integers(part)
                case 4:
                    word = as_message(part)
                case 5:
                    tensors.append(as_message(part))
                case 2 | 7 | 9 | 13 | 20:  # numbers, several strings, what kind it is
                    pass
                case _:
                    raise Refused("has graphs inside of operators, which a file of ganzoo's never has")
        if len(tensors) > 1:
            raise malformed()
        for tensor in tensors:
            self._tensor(tensor)
        # Attributes such as value_ints hold data. All others are sizes, axes and modes, where a huge number would make
        # a kernel allocate or loop without end.
        if not name.startswith("value"):
            least = 1 if name in _POSITIVE else -_ATTRIBUTE
            if any(not least <= value <= _ATTRIBUTE for value in numbers):
                raise Refused(f"has an operator whose attribute {name[:80]!r} makes no sense")
            node.attributes[name] = numbers
            if word is not None:
                node.words[name] = str(word, "utf-8", "replace")

    def _tensor(self, message: memoryview) -> limits.Weight:
        weight, stored, entries = limits.Weight(), 0, dict[str, str]()
        for number, part in self._fields(message):
            match number:
                case 1:
                    weight.shape += integers(part)
                case 2:
                    weight.type = part if isinstance(part, int) else 0
                case 4 | 5 | 7 | 10 | 11:
                    stored += len(part) if isinstance(part, memoryview) else 1
                case 8:
                    weight.name = as_text(part)
                case 9:
                    weight.raw = as_message(part)
                case 13:
                    entry = dict(self._fields(as_message(part)))
                    entries[as_text(entry.get(1, b""))] = as_text(entry.get(2, b""))
                case 3 | 6:
                    raise Refused("has weights of a kind that a file of ganzoo's never has")
        # A shape is a promise of the file: limited before it is multiplied, and compared with the bytes that are there.
        size = _TYPES.get(weight.type)
        if size is None or len(weight.shape) > _RANK or any(not 0 <= each < 2**40 for each in weight.shape):
            raise Refused("has weights of a type or shape that a file of ganzoo's never has")
        weight.size = prod(weight.shape) * size
        if entries:
            self._beside(entries, weight.size)
        elif weight.size != len(weight.raw) if weight.raw is not None else prod(weight.shape) > stored:
            raise malformed()
        elif weight.size <= limits.SMALL:
            weight.message = bytes(message)
        return weight

    def _beside(self, entries: dict[str, str], size: int) -> None:
        """Check that weights lie in a file of our folder, and are all there."""
        place = entries.get("location", "")
        if self.folder is None:
            raise Refused("keeps weights in another file, so it has to be opened by its path")
        # A name with separators, a drive, a stream or ".." could lead out of the folder, on Windows too.
        if not place or place != os.path.basename(place) or set(place) & set("/\\:\0") or place in (".", ".."):
            raise Refused(f"keeps weights in {place[:80]!r}, which is no file of its own folder")
        try:
            status = os.lstat(self.folder / place)
            start, length = (
                int(entries.get(key, default)) for key, default in (("offset", "0"), ("length", str(size)))
            )
        except (OSError, ValueError):
            raise Refused(f"keeps weights in {place[:80]!r}, which is not beside it") from None
        # lstat: a symbolic or hard link could make the model read a private file as weights, and return it as samples.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise Refused(f"keeps weights in {place[:80]!r}, which is a link")
        if length != size or start < 0 or start + length > status.st_size:
            raise Refused(f"keeps weights in {place[:80]!r}, which is cut short")

    def _fields(self, message: memoryview) -> list[Field]:
        # A few megabytes of empty fields would keep this busy for minutes: the number of parts is limited.
        found = [*islice(fields_of(message), self._left + 1)]
        self._left -= len(found)
        if self._left < 0:
            raise Refused("has more parts than any network needs")
        return found
