"""Every rule that rewrites graphs, against what onnxruntime makes of the graph as it was."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxscript import ir

from ganzoo_exporters import rewrite as rules
from ganzoo_exporters.rewrite import FAST, Rule, rewrite

CPU = ["CPUExecutionProvider"]


def graph(nodes: list[Any], shape: list[Any], **weights: np.ndarray) -> onnx.ModelProto:
    """A model from ``x`` to ``y``, with the shapes of all its values inferred, as torch exports them."""
    values = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), onnx.ValueInfoProto(name="y")
    made = helper.make_graph(nodes, "graph", [x], [y], values)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=CPU)
    return session.run(None, {"x": x})[0]


def check(model: onnx.ModelProto, applied: tuple[Rule, ...], kinds: list[str], seed: int = 0) -> None:
    """The rules give these operators, and the same result."""
    rewritten = ir.from_proto(model)
    rewrite(rewritten, applied)
    found = ir.to_proto(rewritten)
    assert [node.op_type for node in found.graph.node] == kinds
    assert found.graph.output[0].name == "y"
    onnx.checker.check_model(found, full_check=True)
    used = {name for node in found.graph.node for name in node.input}
    assert {tensor.name for tensor in found.graph.initializer} <= used
    x = numbers(seed, *(3 if isinstance(size, str) else size for size in shape_of(model)))
    expected = run(model, x)
    np.testing.assert_allclose(run(found, x), expected, atol=2e-5, rtol=2e-5)
    assert expected.size


def shape_of(model: onnx.ModelProto) -> list[Any]:
    return [size.dim_param or size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


sizes = st.integers(1, 4)
quick = settings(deadline=None, max_examples=25)


@quick
@given(c=sizes, o=sizes, h=sizes, w=sizes, kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)), data=st.data())
def test_a_convolution_of_a_doubled_map(
    c: int, o: int, h: int, w: int, kernel: tuple[int, int], data: st.DataObject
) -> None:
    pads = [data.draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4)]
    assume(2 * h + pads[0] + pads[2] >= kernel[0] and 2 * w + pads[1] + pads[3] >= kernel[1])
    mode: dict[str, str] = data.draw(
        st.sampled_from(
            [
                {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
                {"coordinate_transformation_mode": "half_pixel"},
            ]
        )
    )
    resize = helper.make_node("Resize", ["x", "", "scales"], ["doubled"], mode="nearest", **mode)
    conv = helper.make_node("Conv", ["doubled", "w", "b"], ["y"], pads=pads)
    weights = {"w": numbers(1, o, c, *kernel), "b": numbers(2, o), "scales": np.array([1, 1, 2, 2], np.float32)}
    check(graph([resize, conv], ["n", c, h, w], **weights), (rules.doubled_as_transposed,), ["ConvTranspose"])


@pytest.mark.parametrize(
    ("resize", "conv", "shared"),
    [
        ({"nearest_mode": "ceil"}, {}, False),
        ({"mode": "linear"}, {}, False),
        ({}, {"strides": [2, 2]}, False),
        ({}, {"dilations": [2, 2]}, False),
        ({}, {"auto_pad": "SAME_UPPER"}, False),
        ({}, {}, True),
    ],
)
def test_other_convolutions_of_a_doubled_map_are_left_alone(resize: Any, conv: Any, shared: bool) -> None:
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", **resize}
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["doubled"], **attributes),
        helper.make_node("Conv", ["doubled", "w"], ["c" if shared else "y"], **conv),
        *([helper.make_node("ReduceMean", ["doubled"], ["m"], keepdims=0)] if shared else []),
        *([helper.make_node("Add", ["c", "m"], ["y"])] if shared else []),
    ]
    model = graph(nodes, ["n", 2, 4, 4], w=numbers(0, 2, 2, 3, 3), scales=np.array([1, 1, 2, 2], np.float32))
    check(model, FAST[:4], [node.op_type for node in nodes])


@quick
@given(c=sizes, o=sizes, h=st.integers(3, 6), w=st.integers(3, 6), kernel=st.integers(1, 3), pad=st.integers(0, 2))
def test_a_convolution_and_pooling(c: int, o: int, h: int, w: int, kernel: int, pad: int) -> None:
    assume(h + 2 * pad - kernel >= 1 and w + 2 * pad - kernel >= 1)
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[pad] * 4)
    pool = helper.make_node("AveragePool", ["c"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    model = graph([conv, pool], ["n", c, h, w], w=numbers(1, o, c, kernel, kernel), b=numbers(2, o))
    check(model, (rules.halved_as_strided,), ["Conv"])


@quick
@given(c=sizes, o=sizes, kernel=st.tuples(sizes, sizes), bias=st.booleans(), pad=st.integers(0, 1))
def test_a_transposed_convolution_of_one_pixel(c: int, o: int, kernel: tuple[int, int], bias: bool, pad: int) -> None:
    assume(min(kernel) > 2 * pad)
    inputs = ["x", "w", *(["b"] if bias else [])]
    node = helper.make_node("ConvTranspose", inputs, ["y"], strides=[2, 3], pads=[pad] * 4)
    weights = {"w": numbers(1, c, o, *kernel)} | ({"b": numbers(2, o)} if bias else {})
    check(graph([node], ["n", c, 1, 1], **weights), (rules.one_pixel_as_product,), ["Flatten", "Gemm", "Reshape"])
    two = graph([node], ["n", c, 1, 2], **weights)
    check(two, (rules.one_pixel_as_product,), ["ConvTranspose"])


@quick
@given(
    c=sizes,
    o=sizes,
    h=sizes,
    w=sizes,
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(2, 3),
    data=st.data(),
)
def test_a_transposed_convolution_as_a_convolution(
    c: int, o: int, h: int, w: int, kernel: tuple[int, int], stride: int, data: st.DataObject
) -> None:
    pads = [data.draw(st.integers(0, 2)) for _ in range(4)]
    spans = [stride * (size - 1) + kernel[axis] - pads[axis] - pads[axis + 2] for axis, size in enumerate((h, w))]
    assume(min(spans) >= 1)
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["t"], strides=[stride] * 2, pads=pads)
    relu = helper.make_node("Relu", ["t"], ["y"])
    model = graph([node, relu], ["n", c, h, w], w=numbers(1, c, o, *kernel), b=numbers(2, o))
    check(model, (rules.transposed_as_convolution,), ["Conv", "DepthToSpace", "Slice", "Relu"])
    early = (rules.transposed_as_convolution, rules.activated_early)
    check(model, early, ["Conv", "Relu", "DepthToSpace", "Slice"])


def test_functions_are_brought_before_what_moves_numbers_if_a_convolution_can_take_them() -> None:
    weights = {"w": numbers(1, 4, 3, 3, 3), "to": np.array([0, -1])}
    conv = helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4)
    flat = helper.make_node("Reshape", ["c", "to"], ["f"])
    relu = helper.make_node("Relu", ["f"], ["y"])
    check(graph([conv, flat, relu], ["n", 3, 4, 4], **weights), (rules.activated_early,), ["Conv", "Relu", "Reshape"])
    skip = helper.make_node("Concat", ["c", "x"], ["j"], axis=1)
    flat = helper.make_node("Reshape", ["j", "to"], ["f"])
    kinds = ["Conv", "Concat", "Reshape", "Relu"]  # as it was: of the input, it would be one operator more
    check(graph([conv, skip, flat, relu], ["n", 3, 4, 4], **weights), (rules.activated_early,), kinds)
    twice = [conv, helper.make_node("Concat", ["c", "c"], ["f"], axis=1), relu]
    check(graph(twice, ["n", 3, 4, 4], w=weights["w"]), (rules.activated_early,), ["Conv", "Concat", "Relu"])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("maps", [True, False])
def test_batch_norm_behind_a_product(bias: bool, turned: bool, maps: bool) -> None:
    weight = numbers(0, 12, 5) if turned else numbers(0, 5, 12)
    features = 3 if maps else 12
    normal = {name: numbers(index, features) for index, name in enumerate(("scale", "shift", "mean"))}
    normal["variance"] = np.abs(numbers(4, features)) + 0.1
    nodes = [
        helper.make_node("Gemm", ["x", "w", *(["b"] if bias else [])], ["g"], transB=int(turned)),
        *([helper.make_node("Reshape", ["g", "to"], ["r"])] if maps else []),
        helper.make_node("BatchNormalization", ["r" if maps else "g", *normal], ["y"], epsilon=1e-3),
    ]
    extra = ({"b": numbers(3, 12)} if bias else {}) | ({"to": np.array([-1, 3, 2, 2])} if maps else {})
    model = graph(nodes, ["n", 5], w=weight, **normal, **extra)
    check(model, (rules.folded_norm,), ["Gemm", "Reshape"] if maps else ["Gemm"])


def test_layer_norm_between_transposes() -> None:
    def model(axis: int, back: list[int], shape: tuple[int, ...]) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
            helper.make_node("LayerNormalization", ["t", "w", "b"], ["n"], axis=axis, epsilon=1e-3),
            helper.make_node("LeakyRelu", ["n"], ["l"], alpha=0.3),
            helper.make_node("Transpose", ["l"], ["y"], perm=back),
        ]
        return graph(nodes, ["n", 2, 3, 4], w=numbers(0, *shape), b=numbers(1, *shape))

    for axis in (1, -3):
        check(model(axis, [0, 3, 1, 2], (3, 4, 2)), FAST, ["LayerNormalization", "LeakyRelu"])
    as_it_was = ["Transpose", "LayerNormalization", "LeakyRelu", "Transpose"]
    check(model(1, [0, 1, 2, 3], (3, 4, 2)), FAST, as_it_was)
    check(model(-1, [0, 3, 1, 2], (2,)), FAST, as_it_was)
