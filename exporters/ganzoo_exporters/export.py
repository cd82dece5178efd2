"""Write a network to ONNX and compare the file with torch before it gets its name."""

from __future__ import annotations

import copy
import inspect
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from ganzoo import Attributes, GanzooError, Image, Label, Latent, Network, Scores, Signature
from ganzoo.files import atomic_path
from ganzoo_exporters import runtime

__all__ = ["BATCHES", "SCHEMA", "TOLERANCE", "draw_inputs", "export"]

SCHEMA = 1
"""The version of the metadata document."""

BATCHES = (1, 3, 64)
"""The batch sizes at which the file is compared with torch."""

TOLERANCE = 1e-5
"""The largest difference to torch that passes, relative to the output's range."""

_NORMAL, _UNIFORM = ("RandomNormal", "RandomNormalLike"), ("RandomUniform", "RandomUniformLike")
_RANDOM = {*_NORMAL, *_UNIFORM, "Bernoulli", "Multinomial", "Dropout"}
_INPUT, _OUTPUT = "ganzoo::input", "ganzoo::output"  # until every name of the graph is known


def export(
    network: Network, path: Path, metadata: Mapping[str, Any], *, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Write the network to ``path`` as one ONNX file, and return its metadata document.

    The inputs are the signature's, in their order and by their names; the output is called ``sample``; the batch is
    dynamic. The network itself is left alone: a float32 copy on the CPU in eval mode is exported, with spectral norm
    and other parametrizations folded into the weights. The metadata entry ``ganzoo`` is ``metadata`` as JSON, and in
    it ``schema``, ``signature``, ``network`` (unless given, ``"generator"``) and ``parity``: the largest difference
    between onnxruntime and torch over the batch sizes ``BATCHES``, relative to the value range of an image, or to the
    largest value (at least 1) of anything else.

    Raises :class:`GanzooError` if the network cannot be exported, draws random numbers inside, or differs by more than
    the tolerance. No file is left then, and one that was there stays as it was.
    """
    if not network.signature.inputs or not all(field.name for field in network.signature.inputs):
        raise GanzooError("the network cannot be exported: its signature has no inputs, or one without a name")
    document: dict[str, Any] = {"network": "generator", **metadata}
    document |= {"schema": SCHEMA, "signature": network.signature.to_json()}
    _to_json(document)  # fails here rather than after the long work
    with atomic_path(path) as temporary:
        with _failures("the network cannot be exported"), torch.no_grad():
            reference = copy.deepcopy(network).cpu().float().eval()
            inputs = [draw_inputs(network.signature, batch) for batch in BATCHES]
            expected = [_apply(reference, arrays) for arrays in inputs]
            model = _translate(reference, inputs[1])
            _refuse_random(model)
            _rename(model.graph, network.signature)
            _strip(model)
            data = _serialize(model, document)
        largest, batch = _compare(data, inputs, expected, network.signature)
        if largest > tolerance:
            raise GanzooError(
                f"the exported network differs from torch by {largest:.2e} of its value range at batch size {batch}, "
                f"more than the tolerance of {tolerance:.0e}; nothing was written"
            )
        document["parity"] = {
            "batches": list(BATCHES),
            "max_difference": largest,
            "tolerance": tolerance,
            "reference": f"torch {torch.__version__.partition('+')[0]}",
        }
        with _failures("the network cannot be exported"):
            temporary.write_bytes(_serialize(model, document))
    written: dict[str, Any] = json.loads(_to_json(document))
    return written


def draw_inputs(signature: Signature, batch: int, seed: int = 0) -> list[NDArray[Any]]:
    """Return one batch of inputs as the signature describes them.

    All combinations of classes take turns, and so do the examples of attributes; everything else is random.
    """
    random = np.random.Generator(np.random.Philox(seed))
    index = rest = np.arange(batch, dtype=np.int64)
    arrays: list[NDArray[Any]] = []
    for field in signature.inputs:
        shape = (batch, *field.shape)
        match field:
            case Label(classes=classes):
                arrays.append(rest % classes)
                rest = rest // classes
            case Attributes(examples=examples) if examples:
                arrays.append(np.array(examples, np.float32)[index % len(examples)])
            case Latent(distribution="uniform"):
                arrays.append(random.random(shape, dtype=np.float32) * np.float32(2) - np.float32(1))
            case Image(range=(low, high)):
                arrays.append(random.uniform(low, high, shape).astype(np.float32))
            case _:
                arrays.append(random.standard_normal(shape, dtype=np.float32))
    return arrays


def _apply(network: Network, arrays: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    output, wanted = network(*map(torch.from_numpy, arrays)), network.signature.output
    if not isinstance(output, Tensor):
        raise GanzooError(f"the network cannot be exported: it returns a {type(output).__name__}, not one tensor")
    shape = (len(arrays[0]), *(output.shape[1:] if isinstance(wanted, Scores) else wanted.shape))
    if output.dtype != torch.float32 or output.shape != shape:
        raise GanzooError(
            f"the network cannot be exported: its signature promises float32 {list(shape)}, "
            f"but it returns {str(output.dtype).removeprefix('torch.')} {list(output.shape)}"
        )
    if not output.isfinite().all():
        raise GanzooError("the network cannot be exported: it returns values that are not finite")
    return output.numpy()


def _translate(reference: Network, arrays: Sequence[NDArray[Any]]) -> onnx.ModelProto:
    network: nn.Module = copy.deepcopy(reference)
    _fold_parametrizations(network)
    if {*network._modules, *network._parameters, *network._buffers} & set(dir(fx.GraphModule({}, fx.Graph()))):
        network = _Inside(network)
    # so that the graph does not depend on the memory format that the network was trained in
    network.to(memory_format=torch.contiguous_format)
    batch = torch.export.Dim("batch")
    with _quiet():
        program = torch.onnx.export(
            network,
            tuple(map(torch.from_numpy, arrays)),
            dynamo=True,
            verbose=False,
            input_names=[f"{_INPUT}{index}" for index in range(len(arrays))],
            output_names=[_OUTPUT],
            dynamic_shapes=_nest(network, [{0: batch} for _ in arrays]),
        )
        assert program is not None
        return program.model_proto


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


def _nest(network: nn.Module, shapes: list[Any]) -> tuple[Any, ...]:
    """Group what ``forward(self, z, *rest)`` takes as ``*rest``, as torch.export wants it."""
    for index, parameter in enumerate(inspect.signature(network.forward).parameters.values()):
        if parameter.kind is parameter.VAR_POSITIONAL:
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
        del each.value_info[:]  # inferred anew by whoever needs it; a stale one breaks quantisation
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
    """Remove what torch leaves in every corner of the file: source paths, source lines, stack traces."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)


def _to_json(document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise GanzooError(f"the metadata cannot be written as JSON: {error}") from None


def _serialize(model: onnx.ModelProto, document: Mapping[str, Any]) -> bytes:
    del model.metadata_props[:]
    model.metadata_props.add(key="ganzoo", value=_to_json(document))
    data: bytes = model.SerializeToString()
    onnx.checker.check_model(data, full_check=True)
    return data


def _compare(
    data: bytes, inputs: Sequence[Sequence[NDArray[Any]]], expected: Sequence[NDArray[Any]], signature: Signature
) -> tuple[float, int]:
    """Return the largest relative difference to what torch returned, and the batch size where it was found."""
    try:
        generator = runtime.Generator(data, providers=["CPUExecutionProvider"])
        found = [generator(*arrays) for arrays in inputs]
    except runtime.ModelError as error:
        raise GanzooError(f"the exported network does not run in onnxruntime: {error}") from None
    differences: list[tuple[float, int]] = []
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            raise GanzooError(
                f"the exported network returns {list(ours.shape)} where torch returns {list(theirs.shape)}"
            )
        scale = max(1.0, float(np.abs(theirs).max()))
        if isinstance(signature.output, Image):
            scale = signature.output.range[1] - signature.output.range[0]
        difference = float(np.abs(ours.astype(np.float64) - theirs).max()) / scale
        differences.append((math.inf if math.isnan(difference) else difference, len(theirs)))
    return max(differences)


@contextmanager
def _failures(what: str) -> Iterator[None]:
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's exporter, which prints, logs and warns, for the most part about itself."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
