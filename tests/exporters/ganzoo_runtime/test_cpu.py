"""Graphs that are rewritten for CPUs: against what onnxruntime makes of them as they were."""

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from built import CPU
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ganzoo_runtime import Generator, cpu, providers
from ganzoo_runtime.cpu import for_cpu
from ganzoo_runtime.file_checks import read_model

quick = settings(deadline=None, max_examples=25)


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def graph(nodes: list[Any], shape: list[int], *, multiple: int | None = None, **weights: np.ndarray) -> bytes:
    """Return a model of images from ``x`` to ``y``."""
    values = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    sizes = ["n", shape[0], "h", "w"] if multiple else ["n", *shape]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "rows", "columns"])
    made = helper.make_graph(nodes, "graph", [x], [y], values)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    found = run(model.SerializeToString(), np.zeros((1, *shape), np.float32))
    field = {"kind": "image", "dtype": "float32", "range": [-1, 1]}
    one = {**field, "name": "x", "shape": shape, **({"multiple": multiple} if multiple else {})}
    signature = {"inputs": [one], "output": {**field, "name": "y", "shape": [*found.shape[1:]]}}
    helper.set_model_props(model, {"ganzoo": json.dumps({"schema": 1, "signature": signature})})
    return model.SerializeToString()


def run(content: bytes, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(content, providers=CPU).run(None, {"x": x})[0]


def operators(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def check(content: bytes, kinds: list[str], *, winograd: bool = False) -> None:
    """The rewritten graph has these operators, is valid, and gives the same."""
    found = for_cpu(read_model(content, "the model"), winograd=winograd)
    assert found is not None
    assert operators(found) == kinds
    model, before = onnx.load_from_string(found), onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert model.metadata_props == before.metadata_props
    used = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= used
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim][1:]
    x = numbers(0, 3, *shape)
    expected = run(content, x)
    np.testing.assert_allclose(run(found, x), expected, atol=2e-5, rtol=2e-5)
    assert expected.size
    np.testing.assert_allclose(Generator(content, providers=CPU)(x), expected, atol=2e-5, rtol=2e-5)
    assert for_cpu(read_model(found, "the model"), winograd=winograd) is None


def left_alone(content: bytes, *, winograd: bool = False) -> None:
    assert for_cpu(read_model(content, "the model"), winograd=winograd) is None


@quick
@given(o=st.integers(1, 4), h=st.integers(3, 6), kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)), data=st.data())
def test_a_convolution_to_few_channels(o: int, h: int, kernel: tuple[int, int], data: st.DataObject) -> None:
    pads = [data.draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4)]
    assume(h + pads[0] + pads[2] >= kernel[0] and 5 + pads[1] + pads[3] >= kernel[1])
    conv = helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=pads)
    check(graph([conv], [6, h, 5], w=numbers(1, o, 6, *kernel), b=numbers(2, o)), ["ConvTranspose"])
    left_alone(graph([conv], [6, h, 5], w=numbers(1, 5, 6, *kernel), b=numbers(2, 5)))


@quick
@given(
    h=st.integers(1, 7),
    w=st.integers(2, 8),
    more=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    stride=st.integers(2, 3),
    bias=st.booleans(),
    activation=st.sampled_from(["", "LeakyRelu", "Clip"]),
    data=st.data(),
)
def test_a_transposed_convolution_by_phases(
    h: int, w: int, more: tuple[int, int], stride: int, bias: bool, activation: str, data: st.DataObject
) -> None:
    kernel = [stride + each for each in more]
    pads = [data.draw(st.integers(0, more[axis % 2])) for axis in range(4)]
    size = [stride * (n - 1) + kernel[axis] - pads[axis] - pads[axis + 2] for axis, n in enumerate((h, w))]
    assume(min(size) > 0)
    inputs = ["x", "w", *(["b"] if bias else [])]
    nodes = [helper.make_node("ConvTranspose", inputs, ["t"], strides=[stride] * 2, pads=pads, auto_pad="NOTSET")]
    weights = {"w": numbers(1, 3, 16, *kernel)} | ({"b": numbers(2, 16)} if bias else {})
    match activation:
        case "LeakyRelu":
            nodes.append(helper.make_node("LeakyRelu", ["t"], ["y"], "named", alpha=0.3))
        case "Clip":
            nodes.append(helper.make_node("Clip", ["t", "low", "high"], ["y"]))
            weights |= {"low": np.float32(-1), "high": np.float32(0.5)}
        case _:
            nodes[0].output[0] = "y"
    phases = ["Conv", *([activation] if activation else [])] * stride * stride
    moves = ["Reshape"] * stride * stride + ["Concat"] * stride + ["Reshape"] * stride + ["Concat", "Reshape"]
    if any(n % stride for n in size):
        moves.append("Slice")
    check(graph(nodes, [3, h, w], **weights), [*phases, *moves])


@quick
@given(
    h=st.integers(28, 37),
    w=st.integers(1, 9),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    outputs=st.sampled_from([80, 96]),
    bias=st.booleans(),
    activation=st.booleans(),
)
def test_a_convolution_by_winograds_algorithm(
    h: int, w: int, pads: tuple[int, ...], outputs: int, bias: bool, activation: bool
) -> None:
    height = h + pads[0] + pads[2] - 2
    assume(w + pads[1] + pads[3] >= 3 and height >= 26)
    nodes = [helper.make_node("Conv", ["x", "w", *(["b"] if bias else [])], ["c" if activation else "y"], pads=pads)]
    if activation:
        nodes.append(helper.make_node("LeakyRelu", ["c"], ["y"]))
    weights = {"w": numbers(1, outputs, 80, 3, 3) / 27} | ({"b": numbers(2, outputs)} if bias else {})
    kinds = ["Conv", "Conv", "Reshape"] * 6 + ["Concat", "MatMul", "Reshape"] + ["Slice"] * (height % 4 > 0)
    content = graph(nodes, [80, h, w], **weights)
    check(content, kinds + ["LeakyRelu"] * activation, winograd=True)
    left_alone(content)  # unless asked for: it makes weights larger


@pytest.mark.parametrize(
    "settings",
    [
        {"multiple": 8},  # of any size
        {"size": 15},  # too few rows
        {"outputs": 72},  # no whole blocks of channels
        {"outputs": 48},
        {"inputs": 48},
        {"inputs": 64, "size": 24},  # too few rows for so few channels
        {"kernel": 5},
        {"strides": [2, 2]},
        {"dilations": [2, 2]},
        {"group": 2},
        {"auto_pad": "SAME_UPPER", "pads": None},
        {"bytes": 500_000},  # more than a model may have whose weights double
    ],
)
def test_other_convolutions_are_left_alone(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def convolution(inputs: int = 128, outputs: int = 128, size: int = 16, kernel: int = 3, **rest: Any) -> bytes:
        multiple = rest.pop("multiple", None)
        node = helper.make_node("Conv", ["x", "w"], ["y"], **{"pads": [1] * 4, **rest})
        weights = numbers(1, outputs, inputs // rest.get("group", 1), kernel, kernel)
        return graph([node], [inputs, size, size], multiple=multiple, w=weights)

    assert for_cpu(read_model(convolution(), "the model"), winograd=True) is not None
    monkeypatch.setattr(cpu, "_LARGE", settings.get("bytes", cpu._LARGE))
    left_alone(convolution(**{key: each for key, each in settings.items() if key != "bytes"}), winograd=True)


def transposed(outputs: int = 16, size: int = 4, multiple: int | None = None, **attributes: Any) -> bytes:
    settings = {"strides": [2, 2], "pads": [1] * 4, **attributes}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **settings)
    weights = numbers(1, 3, outputs // settings.get("group", 1), size, size)
    return graph([node], [3, 7, 7], multiple=multiple, w=weights)


@pytest.mark.parametrize(
    "settings",
    [
        {"multiple": 7},  # of any size
        {"outputs": 15},  # to few channels
        {"pads": [3, 1, 1, 1]},  # more than the kernel less the stride
        {"strides": [2, 1]},
        {"strides": [5, 5], "size": 5, "pads": [0] * 4},  # too many convolutions
        {"output_padding": [1, 1]},
        {"dilations": [2, 2]},
        {"group": 3, "outputs": 48},
        {"auto_pad": "SAME_UPPER", "pads": None},
        {"output_shape": [14, 14]},
    ],
)
def test_other_transposed_convolutions_are_left_alone(settings: dict[str, Any]) -> None:
    left_alone(transposed(**settings))


def test_weights_that_are_computed_or_of_another_type_are_left_alone() -> None:
    node = helper.make_node("ConvTranspose", ["x", "v"], ["y"], strides=[2, 2], pads=[1] * 4)
    half = numbers(1, 3, 16, 4, 4)
    left_alone(graph([helper.make_node("Neg", ["w"], ["v"]), node], [3, 7, 7], w=half))
    cast = helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT16)
    node.input[0], node.output[0] = "c", "t"
    back = helper.make_node("Cast", ["t"], ["y"], to=TensorProto.FLOAT)
    left_alone(graph([cast, node, back], [3, 7, 7], v=half.astype(np.float16)))


def test_a_function_is_joined_only_if_nobody_else_needs_what_is_before_it() -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["t"], strides=[2, 2], pads=[1] * 4)
    relu, add = helper.make_node("Relu", ["t"], ["r"]), helper.make_node("Add", ["t", "r"], ["y"])
    moves = ["Reshape"] * 4 + ["Concat"] * 2 + ["Reshape"] * 2 + ["Concat", "Reshape"]
    check(graph([node, relu, add], [3, 7, 7], w=numbers(1, 3, 16, 4, 4)), ["Conv"] * 4 + moves + ["Relu", "Add"])
    # What a function takes besides may be computed only after the convolution.
    later = helper.make_node("Constant", [], ["high"], value=numpy_helper.from_array(np.float32(0.5)))
    clip = helper.make_node("Clip", ["t", "", "high"], ["y"])
    kinds = ["Conv"] * 4 + moves + ["Constant", "Clip"]
    check(graph([node, later, clip], [3, 7, 7], w=numbers(1, 3, 16, 4, 4)), kinds)


def test_names_that_are_taken_are_taken() -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["x", "cpu_1"], ["cpu_0"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Add", ["cpu_0", "cpu_3"], ["y"]),
    ]
    moves = ["Reshape"] * 4 + ["Concat"] * 2 + ["Reshape"] * 2 + ["Concat", "Reshape"]
    weights = {"cpu_1": numbers(1, 3, 16, 4, 4), "cpu_3": numbers(2, 16, 14, 14)}
    check(graph(nodes, [3, 7, 7], **weights), ["Conv"] * 4 + moves + ["Add"])


def test_other_devices_get_the_file_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    content, given = transposed(), []
    session = onnxruntime.InferenceSession

    def opened(model: bytes, options: Any, providers: list[Any], **rest: Any) -> Any:
        name = providers[0] if isinstance(providers[0], str) else providers[0][0]
        given.append((name, model))
        if name != "CPUExecutionProvider":
            raise RuntimeError("no such device")
        return session(model, options, providers, **rest)

    monkeypatch.setattr(providers, "_cuda_works", lambda: True)
    monkeypatch.setattr(providers, "_tensorrt_is_there", lambda: False)
    monkeypatch.setattr(providers.ort, "InferenceSession", opened)
    Generator(content, providers=["cuda", "cpu"])
    names, models = zip(*[each for each in given if len(operators(each[1])) != 1 or each[1] == content], strict=True)
    assert names == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert models[0] == content
    assert models[1] == for_cpu(read_model(content, "the model"))
