"""Rewriting of graphs into the form that onnxruntime computes fastest; results are equal up to rounding.

What is here leaves fewer operators and less arithmetic for any device; what pays on CPUs alone is in
:mod:`ganzoo_runtime.cpu`. The gain was measured on a CPU with onnxruntime 1.31; ``docs/deployment.md`` has the
figures. Weights are laid out as in ONNX: [out, in, k, k] for Conv, [in, out, k, k] for ConvTranspose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import ir

from ganzoo_exporters.nodes import (
    Array,
    add_weight,
    add_weights,
    constant_of,
    get_float,
    get_int,
    get_ints,
    input_node,
    insert,
    insert_reshape,
    plain_convolution,
    sole_producer,
)
from ganzoo_runtime.cpu import POINTWISE

__all__ = ["FAST", "QUANTIZABLE", "rewrite"]

_MOVING = {"Concat", "DepthToSpace", "Reshape", "Slice"}
_ABSORBING = {"Conv", "Gemm"}  # what onnxruntime computes together with a pointwise function behind it

Rule = Callable[[ir.Node], ir.Value | None]
"""Returns what takes the place of the node's output, or nothing if the rule does not apply to the node."""


def rewrite(model: ir.Model, rules: Sequence[Rule]) -> None:
    """Apply the rules, one after another, to every node of the model."""
    for rule in rules:
        for node in list(model.graph):
            (old, *others) = node.outputs
            if others or (not old.uses() and not old.is_graph_output()) or (new := rule(node)) is None:
                continue
            # Rules that follow read shapes; the output keeps its name, by which callers ask for it.
            new.shape, new.type = old.shape, old.type
            if old.is_graph_output():
                old.name, new.name = None, old.name
            old.replace_all_uses_with(new, replace_graph_outputs=True)
    RemoveUnusedNodesPass()(model)


def without_transposes(node: ir.Node) -> ir.Value | None:
    """Transpose, layer norm over all but the batch, pointwise functions, Transpose back: without the Transposes."""
    chain: list[ir.Node] = []
    inner = input_node(node) if node.op_type == "Transpose" else None
    while inner is not None and inner.op_type in POINTWISE:
        chain.append(inner)
        inner = input_node(inner)
    if inner is None or inner.op_type != "LayerNormalization" or (first := input_node(inner, "Transpose")) is None:
        return None
    there, back = (list(each.attributes["perm"].as_ints()) for each in (first, node))
    rank, weights = len(there), [constant_of(value) for value in inner.inputs[1:]]
    if there[0] or [there[axis] for axis in back] != [*range(rank)] or get_int(inner, "axis", -1) not in (1, 1 - rank):
        return None
    if any(weight is None or weight.ndim != rank - 1 for weight in weights):
        return None
    # Layer norm over all axes but the batch does not depend on their order, if its weights are permuted likewise.
    order = [axis - 1 for axis in back[1:]]
    moved = [add_weight(node, weight.transpose(order)) for weight in weights if weight is not None]
    value = insert(node, "LayerNormalization", [first.inputs[0], *moved], {**inner.attributes, "axis": 1})
    for each in reversed(chain):
        value = insert(node, each.op_type, [value, *each.inputs[1:]], each.attributes)
    return value


def squeezed_states(node: ir.Node) -> ir.Value | None:
    """An LSTM of one direction, its states [L, 1, N, H] reshaped by computed sizes: squeezed, by none.

    A first state of zeros, which has a computed size too, is left out: it is ONNX's default.
    """
    transpose = node.inputs[0].producer() if node.op_type == "Reshape" and node.inputs[0] is not None else None
    if transpose is None or transpose.op_type != "Transpose" or get_ints(transpose, "perm", []) != [0, 2, 1, 3]:
        return None
    states = transpose.inputs[0]
    lstm = None if states is None else states.producer()
    if lstm is None or lstm.op_type != "LSTM" or lstm.outputs[0] is not states:
        return None
    direction = lstm.attributes.get("direction")
    if direction is not None and direction.as_string() not in ("forward", "reverse"):
        return None
    # torch asks for the sizes at run time, and the runtime opens no file whose sizes are not known before.
    begins = lstm.inputs[5:7]
    inputs = lstm.inputs[:4] if all(map(_zero, begins)) else lstm.inputs
    states = insert(node, "LSTM", inputs, lstm.attributes)
    return insert(node, "Squeeze", [states, add_weight(node, np.array([1]), np.int64)], {})


def folded_norm(node: ir.Node) -> ir.Value | None:
    """Batch norm behind a matrix product, or behind one and its Reshape to maps: part of the product's weights."""
    if node.op_type != "BatchNormalization":
        return None
    reshape = input_node(node, "Reshape")
    gemm = input_node(reshape or node, "Gemm")
    if gemm is None or get_int(gemm, "transA", 0) or (get_float(gemm, "alpha"), get_float(gemm, "beta")) != (1, 1):
        return None
    weight, *rest = (constant_of(value) for value in gemm.inputs[1:])
    numbers = [constant_of(value) for value in node.inputs[1:]]
    if weight is None or any(each is None for each in (*rest, *numbers)):
        return None
    # y = (xW + b - mean) * scale / sqrt(variance + eps) + shift is one affine map. It is folded in float64, so that the
    # product is rounded to float32 only once.
    scale, shift, mean, variance = (each.astype(np.float64) for each in numbers if each is not None)
    columns: Array = weight.astype(np.float64).T if get_int(gemm, "transB", 0) else weight.astype(np.float64)
    shape = reshape.outputs[0].shape if reshape is not None else None
    if reshape is not None and (
        shape is None
        or shape[1] != len(scale)
        or prod(size for size in shape[1:] if isinstance(size, int)) != columns.shape[1]
    ):
        return None
    each = columns.shape[1] // len(scale)
    factor = (scale / np.sqrt(variance + get_float(node, "epsilon", 1e-5))).repeat(each)
    bias = np.broadcast_to(rest[0], columns[0].shape) if rest and rest[0] is not None else np.float64(0)
    folded = [columns * factor, (bias - mean.repeat(each)) * factor + shift.repeat(each)]
    product = insert(node, "Gemm", [gemm.inputs[0], *(add_weight(node, array) for array in folded)], {})
    return product if reshape is None else insert(node, "Reshape", [product, reshape.inputs[1]], reshape.attributes)


def one_pixel_as_product(node: ir.Node) -> ir.Value | None:
    """A transposed convolution of a map of one pixel: a matrix product."""
    found = plain_convolution(node, "ConvTranspose")
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if found is None or shape is None or list(shape[2:]) != [1, 1] or any(get_ints(node, "output_padding", [0, 0])):
        return None
    weight, bias, _, (top, left, bottom, right) = found
    height, width = weight.shape[2:]
    weight = weight[:, :, top : height - bottom, left : width - right]
    rows = insert(node, "Flatten", [node.inputs[0]], {"axis": 1})
    weights = [add_weight(node, weight.reshape(len(weight), -1))]
    if bias is not None:
        weights.append(add_weight(node, bias.repeat(prod(weight.shape[2:]))))
    product = insert(node, "Gemm", [rows, *weights], {})
    return insert_reshape(node, product, [-1, *weight.shape[1:]])


def doubled_as_transposed(node: ir.Node) -> ir.Value | None:
    """A convolution of stride 1 of a map doubled in size: a transposed one of stride 2, of the map itself.

    Of the pixels under its k x k kernel some are equal, so that their weights can be added up beforehand.
    """
    resize = input_node(node, "Resize")
    found = plain_convolution(node, "Conv")
    if resize is None or found is None or found[2] != [1, 1] or not _doubles(resize):
        return None
    weight, bias, _, pads = found
    # A transposed convolution applies its kernel mirrored, with inputs and outputs swapped; so both are undone here.
    kernel, size = _overlaid(weight[:, :, ::-1, ::-1]).swapaxes(0, 1), weight.shape[2:]
    turned = [size[axis % 2] - 1 - pad for axis, pad in enumerate(pads)]
    if min(turned) < 0:
        return None
    attributes = {"kernel_shape": list(kernel.shape[2:]), "strides": [2, 2], "pads": turned}
    return insert(node, "ConvTranspose", [resize.inputs[0], *add_weights(node, kernel, bias)], attributes)


def halved_as_strided(node: ir.Node) -> ir.Value | None:
    """A convolution of stride 1 and 2 x 2 average pooling: one convolution of stride 2."""
    conv = input_node(node, "Conv") if node.op_type == "AveragePool" else None
    found = plain_convolution(conv, "Conv") if conv is not None else None
    if found is None or found[2] != [1, 1] or any(get_ints(node, "pads", [0] * 4)) or get_int(node, "ceil_mode", 0):
        return None
    if get_ints(node, "kernel_shape") != [2, 2] or get_ints(node, "strides", [1, 1]) != [2, 2]:
        return None
    weight, bias, _, pads = found
    assert conv is not None
    # The mean over 2 x 2 outputs is one larger kernel at every second place: linear maps compose.
    kernel = _overlaid(weight) / 4
    attributes = {"kernel_shape": list(kernel.shape[2:]), "strides": [2, 2], "pads": pads}
    return insert(node, "Conv", [conv.inputs[0], *add_weights(node, kernel, bias)], attributes)


def transposed_as_convolution(node: ir.Node) -> ir.Value | None:
    """A transposed convolution of stride s: one to s x s times the channels, which become s x s pixels, and a crop.

    Slower in float32, but integers know no transposed convolution.
    """
    found = plain_convolution(node, "ConvTranspose")
    if found is None:
        return None
    weight, bias, strides, pads = found
    inputs, outputs, *size = weight.shape
    stride, (taps, across) = strides[0], (-(-each // strides[0]) for each in size)
    if strides[0] != strides[1] or stride < 2 or any(get_ints(node, "output_padding", [0, 0])):
        return None
    # Pixel i adds weight[m] to pixel s i + m; with m = s t + r that is phase r of pixel i + t.
    whole = np.zeros((inputs, outputs, stride * taps, stride * across), weight.dtype)
    whole[:, :, : size[0], : size[1]] = weight
    phases = whole.reshape(inputs, outputs, taps, stride, across, stride)[:, :, ::-1, :, ::-1]
    kernel = phases.transpose(1, 3, 5, 0, 2, 4).reshape(-1, inputs, taps, across)
    repeated = None if bias is None else bias.repeat(stride * stride)
    around = {"kernel_shape": [taps, across], "pads": [taps - 1, across - 1] * 2}
    value = insert(node, "Conv", [node.inputs[0], *add_weights(node, kernel, repeated)], around)
    value = insert(node, "DepthToSpace", [value], {"blocksize": stride, "mode": "CRD"})
    beyond = [stride * count - each + pad for count, each, pad in zip((taps, across), size, pads[2:], strict=True)]
    ends = [-each or np.iinfo(np.int64).max for each in beyond]
    limits = [add_weight(node, np.array(each), np.int64) for each in (pads[:2], ends, [2, 3])]
    return insert(node, "Slice", [value, *limits], {})


def activated_early(node: ir.Node) -> ir.Value | None:
    """A pointwise function behind nodes that only move the numbers of convolutions: right behind each, a part of it."""

    def origins(value: ir.Value | None) -> Iterator[ir.Node | None]:
        moving = sole_producer(value)
        if moving is None or moving.op_type not in _MOVING:
            yield moving
            return
        for each in _moved(moving):
            yield from origins(each)

    def applied(value: ir.Value | None) -> ir.Value:
        moving = sole_producer(value)
        if moving is None or moving.op_type not in _MOVING:
            return insert(node, node.op_type, [value, *node.inputs[1:]], node.attributes)
        moved = _moved(moving)
        inputs = [*map(applied, moved), *moving.inputs[len(moved) :]]
        return insert(node, moving.op_type, inputs, moving.attributes)

    before = input_node(node) if node.op_type in POINTWISE else None
    if before is None or before.op_type not in _MOVING:
        return None
    # Only if every source can absorb the function: otherwise it would run more often than before.
    if any(origin is None or origin.op_type not in _ABSORBING for origin in origins(node.inputs[0])):
        return None
    return applied(node.inputs[0])


FAST: tuple[Rule, ...] = (
    without_transposes,
    squeezed_states,
    folded_norm,
    one_pixel_as_product,
    doubled_as_transposed,
    halved_as_strided,
    activated_early,
)
"""The rules for floating point numbers."""

QUANTIZABLE: tuple[Rule, ...] = (
    without_transposes,
    squeezed_states,
    folded_norm,
    one_pixel_as_product,
    doubled_as_transposed,
    halved_as_strided,
    transposed_as_convolution,
    activated_early,
)
"""The rules for graphs that are to be quantized."""


def _zero(value: ir.Value | None) -> bool:
    """Tell whether all numbers of a value are 0, however often they are repeated."""
    while value is not None and (constant := constant_of(value)) is None:
        producer = value.producer()
        moved = producer is not None and producer.op_type in ("Expand", "Slice", "Unsqueeze")
        value = producer.inputs[0] if producer is not None and moved else None
    return value is not None and constant is not None and not constant.any()


def _doubles(resize: ir.Node) -> bool:
    """Tell whether a Resize repeats every pixel of a map in both directions."""
    scales = constant_of(resize.inputs[2]) if len(resize.inputs) == 3 else None
    if scales is None or scales.tolist() != [1, 1, 2, 2]:
        return False
    words = [
        resize.attributes[key].as_string() if key in resize.attributes else default
        for key, default in (
            ("mode", "nearest"),
            ("coordinate_transformation_mode", "half_pixel"),
            ("nearest_mode", "round_prefer_floor"),
        )
    ]
    return words in (["nearest", "asymmetric", "floor"], ["nearest", "half_pixel", "round_prefer_floor"])


def _overlaid(kernel: Array) -> Array:
    """Return kernels [..., k + 1, k + 1]: those of [..., k, k] at all four places of a 2 x 2 square, added up."""
    wide = np.pad(kernel.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    added: Array = wide[..., 1:, 1:] + wide[..., 1:, :-1] + wide[..., :-1, 1:] + wide[..., :-1, :-1]
    return added


def _moved(node: ir.Node) -> Sequence[ir.Value | None]:
    """Return the inputs whose numbers a node only moves."""
    return node.inputs if node.op_type == "Concat" else node.inputs[:1]
