"""Write a network to ONNX and compare the file with torch before it gets its name."""

from __future__ import annotations

import glob
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import ganzoo_runtime as runtime
from ganzoo import GanzooError, Image, Network, Signature, StyleGenerator, Tokens, UserError, save_grid
from ganzoo.files import atomic_path, temporary_path, writing
from ganzoo_exporters.document import SCHEMA, complete, to_json
from ganzoo_exporters.graph import to_graph
from ganzoo_exporters.parity import BATCHES, Mapped, Reference, feeds, held_out, pixels_agree
from ganzoo_exporters.precision import LEAST_PSNR, Precision, to_half, to_integers
from ganzoo_exporters.program import failures
from ganzoo_exporters.rewrite import FAST, QUANTIZABLE
from ganzoo_runtime.cpu import for_cpu
from ganzoo_runtime.file_checks import read_model
from ganzoo_runtime.providers import CRASHING

__all__ = ["BATCHES", "INLINE", "SCHEMA", "TOLERANCE", "Layout", "Target", "check", "export"]

TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-5, "fp16": 5e-3}
"""The largest difference to torch that passes, relative to the output's range; int8 is held to a mean one instead.

Some networks amplify rounding so much that no float32 implementation is exact. Where float32 and float64 differ in
torch by more than a quarter of the tolerance, the tolerance is four times that difference, at most ten times as large.
"""

INLINE = 2**31 - 2**25
"""Weights of more bytes go to a file of their own: a message of protobuf's ends at 2 GB."""

Layout = Literal["NCHW", "NHWC"]

Target = Literal["any", "cpu"]
"""What a file is written for. ``"any"`` suits all devices, and the runtime rewrites it where it opens it on a CPU;
``"cpu"`` holds that form, for applications in other languages that run on CPUs."""

_CALIBRATION, _HELD_OUT = range(1, 9), range(9, 13)  # seeds of batches of the largest size


def export(
    network: Network,
    path: Path,
    metadata: Mapping[str, Any],
    *,
    pixels: Layout | None = None,
    precision: Precision = "fp32",
    target: Target = "any",
    tolerance: float | None = None,
    inline: int = INLINE,
) -> dict[str, Any]:
    """Write the network to ``path`` as one ONNX file, and return its metadata document.

    The inputs are the signature's, in their order and by their names; the output is called ``sample``, and a second one
    of a style-based generator, what it draws samples from, ``styles``; the batch is dynamic. The network itself is left
    alone: a float32 copy on the CPU in eval mode is exported, with spectral norm and other parametrizations folded into
    the weights, and rewritten to what onnxruntime computes fastest.

    With ``pixels`` the output is not float32 but uint8 in that layout, scaled, rounded and clipped inside the graph,
    exactly as :func:`ganzoo_runtime.images.pixels` does. ``precision`` is that of the arithmetic inside; see
    :mod:`ganzoo_exporters.precision`. int8 is calibrated on latents that are drawn as the signature says, and an image
    is left beside the file, rows in float32 and in int8 in turn. ``target`` is what the file is written for. Weights of
    more than ``inline`` bytes go to one other file beside ``path``.

    The metadata entry ``ganzoo`` is ``metadata`` as JSON, and in it ``schema``, ``signature``, ``network`` (unless
    given, ``"generator"``), ``precision``, ``target`` and ``parity``: the largest difference between
    onnxruntime and torch over the batch sizes 1, 3 and 64 (of large samples fewer), relative to the value range of an
    image, or to the largest value (at least 1) of anything else; of int8 also the mean one and the signal-to-noise
    ratio over other latents than those of the calibration.

    Raises :class:`~ganzoo.UserError` for metadata that the runtime would refuse and options that the network does not
    allow, and :class:`~ganzoo.GanzooError` if the network cannot be exported, draws random numbers inside, or differs
    by more than the tolerance. No file is left then, and one that was there stays as it was.
    """
    signature = network.signature
    check(signature, pixels, precision)
    document = complete(signature, metadata, precision=precision, target=target)
    fixed, tolerance = tolerance is not None, TOLERANCE.get(precision, math.inf) if tolerance is None else tolerance
    with atomic_path(path) as temporary, temporary_path(path, folder=True) as folder:
        # Written and compared under a temporary name: a file that differs from torch never gets the final one.
        file, tried = Path(folder, path.name), []
        with failures("the network cannot be exported"), torch.no_grad():
            reference = Reference(network)
            styles = Reference(Mapped(network)) if isinstance(network, StyleGenerator) else None
            for model in _models(reference.network, reference.inputs[1], precision):
                with writing(file, str(path)):
                    _write(model, document, file, inline)
                try:
                    generator = runtime.Generator(file, providers=["CPUExecutionProvider"])
                    # The file as others open it, and as the runtime rewrites it for a CPU.
                    difference = max(reference.difference(each) for each in (generator, _plain(file)))
                    if styles is not None:
                        difference = max(difference, styles.difference(_plain(file, output=1)))
                except runtime.ModelError as error:
                    raise GanzooError(f"the exported network does not run in onnxruntime: {error}") from None
                tried.append((*difference, model, generator))
                # Half the tolerance leaves a margin for the rounding of other processors.
                if difference[0] <= tolerance / 2:
                    break
        largest, batch, model, generator = min(tried, key=lambda one: one[0])
        widen = precision == "fp32" and not fixed
        document["parity"] = reference.parity(largest, batch, tolerance, widen=widen)
        if precision == "int8":
            figures, both = held_out(generator, reference.network, _HELD_OUT)
            if figures["psnr"] < LEAST_PSNR:
                raise GanzooError(
                    f"in int8 the network's signal-to-noise ratio to float32 is {figures['psnr']:.1f} dB, less than "
                    f"{LEAST_PSNR:.0f}; nothing was written, take fp16 or fp32"
                )
            document["parity"] |= {**figures, "least_psnr": LEAST_PSNR}
        with failures("the network cannot be exported"):
            if isinstance(signature.output, Image) and pixels:
                output = replace(signature.output, range=(0.0, 255.0), layout=pixels)
                _append_pixels(model.graph, signature.output, pixels)
                document["signature"]["output"] = output.to_json()
            with writing(file, str(path)):
                weights = _write(model, document, file, inline)
            if isinstance(signature.output, Image) and pixels:
                ours = runtime.Generator(file, providers=["CPUExecutionProvider"])
                if not pixels_agree(generator, ours, reference.inputs, signature.output):
                    raise GanzooError("the exported network's pixels are not those of its values")
        if target == "cpu" and (content := for_cpu(read_model(file.read_bytes(), file.name, file.parent))) is not None:
            onnx.checker.check_model(content, full_check=weights is None)
            with writing(file, str(path)):
                file.write_bytes(content)
        # The weights get their name first: the model must never name a file that does not exist yet. They are called by
        # their hash, so an older model beside it still finds its own weights until it has been replaced.
        if weights is not None:
            with atomic_path(path.with_name(weights.name)) as beside:
                weights.replace(beside)
        file.replace(temporary)
    for old in path.parent.glob(f"{glob.escape(path.stem)}-{'[0-9a-f]' * 16}.data"):
        if weights is None or old.name != weights.name:
            old.unlink()  # of the file that this one has replaced
    if precision == "int8" and isinstance(signature.output, Image):
        rows = [array[8 * row : 8 * row + 8] for row in range(4) for array in both]
        claims = runtime.provenance(document)
        save_grid(path.with_suffix(".int8.png"), np.concatenate(rows), signature.output, columns=8, claims=claims)
    written: dict[str, Any] = json.loads(to_json(document))
    return written


def check(signature: Signature, pixels: Layout | None, precision: Precision) -> None:
    """Raise :class:`~ganzoo.UserError` for what the network does not allow.

    That is pixels of what is no image, fp16 and int8 of texts, and int8 of what is not drawn from latents.
    """
    if pixels and not isinstance(signature.output, Image):
        raise UserError(f"pixels are for images, and this network returns {signature.output.kind}")
    if precision != "fp32" and isinstance(signature.output, Tokens):
        raise UserError(f"in {precision} a seed would write another text than in fp32; texts are exported in fp32")
    if precision == "int8" and not signature.drawn:
        kinds = " and ".join(f"{field.kind} {field.name!r}" for field in signature.inputs)
        raise UserError(f"int8 is calibrated on latents, and this network takes {kinds}; take fp16 or fp32")


def _models(network: Network, example: Sequence[NDArray[Any]], precision: Precision) -> Iterator[onnx.ModelProto]:
    """Yield the network in that precision; each further one keeps more of it in float32, and so is more exact."""
    rules = QUANTIZABLE if precision == "int8" else FAST
    model = to_graph(network, [torch.from_numpy(array) for array in example], rules)
    match precision:
        case "fp32":
            yield model
        case "fp16":
            yield from to_half(model)
        case "int8":
            yield to_integers(model, feeds(network.signature, _CALIBRATION))


def _plain(file: Path, output: int = 0) -> Callable[..., NDArray[Any]]:
    """Return a function of the inputs that runs the file in onnxruntime, as it is, and returns one of its outputs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"], disabled_optimizers=CRASHING)
    names = [each.name for each in session.get_inputs()]
    return lambda *arrays: np.asarray(session.run(None, dict(zip(names, arrays, strict=True)))[output])


def _write(model: onnx.ModelProto, document: Mapping[str, Any], path: Path, inline: int) -> Path | None:
    """Write the model, checked; large weights go to a file beside it that is called by their hash and returned."""
    del model.metadata_props[:]
    model.metadata_props.add(key="ganzoo", value=to_json(document))
    arrays = [tensor.raw_data for tensor in model.graph.initializer if tensor.HasField("raw_data")]
    if sum(map(len, arrays)) <= inline:
        data: bytes = model.SerializeToString()
        onnx.checker.check_model(data, full_check=True)
        path.write_bytes(data)
        return None
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array)
    weights = path.with_name(f"{path.stem}-{digest.hexdigest()[:16]}.data")
    weights.unlink(missing_ok=True)  # onnx would append to it
    onnx.save(model, path, save_as_external_data=True, location=weights.name, size_threshold=1024)
    onnx.checker.check_model(path, full_check=True)
    onnx.load_external_data_for_model(model, str(path.parent))  # saving took them out of the model
    return weights


def _append_pixels(graph: onnx.GraphProto, field: Image, layout: Layout) -> None:
    """Append the conversion to uint8 pixels to the graph."""
    low, high = field.range
    output = graph.output[0]
    name, current = output.name, f"{output.name}::values"
    # The output keeps its name, so the former output gets another one, everywhere it is used.
    for node in graph.node:
        node.input[:] = [current if each == name else each for each in node.input]
        node.output[:] = [current if each == name else each for each in node.output]
    steps: list[tuple[str, dict[str, float], dict[str, Any]]] = [
        *([("Sub", {"low": low}, {})] if low else []),
        ("Mul", {"scale": 255 / (high - low)}, {}),
        ("Add", {"half": 0.5}, {}),
        ("Clip", {"least": 0, "most": 255}, {}),
        ("Cast", {}, {"to": onnx.TensorProto.UINT8}),  # towards zero, which rounds down what is not negative
        *([("Transpose", {}, {"perm": [0, 2, 3, 1]})] if layout == "NHWC" else []),
    ]
    for index, (kind, numbers, attributes) in enumerate(steps):
        after = name if index == len(steps) - 1 else f"{name}::{kind.lower()}"
        names = [f"{name}::{key}" for key in numbers]
        for key, value in zip(names, numbers.values(), strict=True):
            graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), key))
        graph.node.append(helper.make_node(kind, [current, *names], [after], **attributes))
        current = after
    tensor = output.type.tensor_type
    tensor.elem_type = onnx.TensorProto.UINT8
    if layout == "NHWC":
        sizes = [onnx.TensorShapeProto.Dimension.FromString(size.SerializeToString()) for size in tensor.shape.dim]
        del tensor.shape.dim[:]
        tensor.shape.dim.extend([sizes[axis] for axis in (0, 2, 3, 1)])
