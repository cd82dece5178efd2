"""Export for deployment: rewritten graphs, pixels, other precisions, weights beside the file, several networks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import Command
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxscript import ir
from torch import Tensor, nn

import ganzoo
from ganzoo import GanzooError, Image, Label, Latent, Network, Points, Sequence, Signature, UserError
from ganzoo import Generator as GeneratorNetwork
from ganzoo_exporters import export as exporting
from ganzoo_exporters import rewrite as rules
from ganzoo_exporters.export import export
from ganzoo_exporters.format import Onnx
from ganzoo_exporters.rewrite import FAST, Rule, rewrite
from ganzoo_plugins.networks.style import ModulatedConv2d
from ganzoo_runtime import Generator, ModelError, cpu
from ganzoo_runtime.images import pixels as to_pixels

CPU = ["CPUExecutionProvider"]

# --- Rewritten graphs: every rule against what onnxruntime makes of the graph as it was


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


# --- Pixels


class Small(GeneratorNetwork):
    """Convolutions up, to the whole of the range and beyond it."""

    def __init__(self, low: float = -1.0, high: float = 1.0, width: int = 8, gain: float = 3) -> None:
        super().__init__(Signature((Latent((6,)), Label(3)), Image(3, 8, 12, (low, high))))
        self.embed, self.fc = nn.Embedding(3, 6), nn.Linear(6, width * 6)
        self.body = nn.Sequential(
            nn.Unflatten(1, (width, 2, 3)),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1),
        )
        self.low, self.high, self.gain = low, high, gain

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        images: Tensor = self.body(self.fc(z + self.embed(y))) * self.gain
        return (images + 0.5) * (self.high - self.low) + self.low


def seeded(make: Callable[[], Network]) -> Network:
    torch.manual_seed(0)
    return make().eval()


def kinds_of(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("inline", [2**30, 1000])
def test_a_file_for_cpus_holds_what_the_runtime_makes_of_one_for_any_device(inline: int, tmp_path: Path) -> None:
    network = seeded(lambda: Small(width=16))
    usual = export(network, tmp_path / "any.onnx", {}, pixels="NHWC")
    document = export(network, tmp_path / "cpu.onnx", {}, pixels="NHWC", target="cpu", inline=inline)
    assert (usual["target"], document["target"]) == ("any", "cpu")
    assert kinds_of(tmp_path / "any.onnx").count("ConvTranspose") == 2
    # weights in a file of their own stay as they are
    assert kinds_of(tmp_path / "cpu.onnx").count("ConvTranspose") == (1 if inline > 1000 else 2)
    onnx.checker.check_model(tmp_path / "cpu.onnx", full_check=True)
    arrays = network.signature.examples(5)
    found, wanted = (Generator(tmp_path / name, providers=CPU)(*arrays) for name in ("cpu.onnx", "any.onnx"))
    np.testing.assert_array_equal(found, wanted)
    session = onnxruntime.InferenceSession(tmp_path / "any.onnx", providers=CPU)
    plain = session.run(None, dict(zip(("z", "y"), arrays, strict=True)))[0]
    assert np.abs(plain.astype(int) - wanted).max() <= 1


def test_a_file_is_compared_as_it_is_and_as_the_runtime_rewrites_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, plain = seeded(lambda: Small(width=16)), exporting._plain
    monkeypatch.setattr(exporting, "_plain", lambda file: lambda *arrays: plain(file)(*arrays) + 0.01)
    with pytest.raises(GanzooError, match="differs from torch by"):
        export(network, tmp_path / "model.onnx", {})
    monkeypatch.setattr(exporting, "_plain", plain)
    weight = cpu._Rewriting._weight
    larger = lambda self, values: weight(self, values * (2 if values.ndim == 4 else 1))  # noqa: E731
    monkeypatch.setattr(cpu._Rewriting, "_weight", larger)
    with pytest.raises(GanzooError, match="differs from torch by"):
        export(network, tmp_path / "model.onnx", {})


@pytest.mark.parametrize(("layout", "limits"), [("NCHW", (-1.0, 3.0)), ("NHWC", (0.0, 1.0))])
def test_pixels_are_those_of_the_numbers(layout: Any, limits: tuple[float, float], tmp_path: Path) -> None:
    network = seeded(lambda: Small(*limits, gain=10))
    export(network, tmp_path / "numbers.onnx", {})
    document = export(network, tmp_path / "pixels.onnx", {}, pixels=layout)
    arrays = network.signature.examples(50, seed=3)
    wanted = to_pixels(Generator(tmp_path / "numbers.onnx", providers=CPU)(*arrays), limits)
    assert {0, 255} < {*wanted.ravel()}
    session = onnxruntime.InferenceSession(tmp_path / "pixels.onnx", providers=CPU)
    (found,) = session.run(None, dict(zip(("z", "y"), arrays, strict=True)))
    assert found.dtype == np.uint8
    # The same but where the last bit of a sum decides: onnxruntime joins the first step with a convolution.
    same = found if layout == "NHWC" else found.transpose(0, 2, 3, 1)
    assert np.abs(same.astype(int) - wanted).max() <= 1
    assert (same == wanted).mean() > 0.999
    field = Signature.from_json(document["signature"]).output
    assert field == Image(3, 8, 12, (0.0, 255.0), layout=layout)
    assert (field.dtype, list(field.shape)) == ("uint8", list(found.shape[1:]))
    assert session.get_outputs()[0].shape == ["batch", *field.shape]
    assert 0 <= document["parity"]["max_difference"] <= document["parity"]["tolerance"]


def test_pixels_are_for_images_alone(tmp_path: Path) -> None:
    class Dots(GeneratorNetwork):
        def __init__(self) -> None:
            super().__init__(Signature((Latent((2,)),), Points(2)))
            self.layer = nn.Linear(2, 2)

        def forward(self, z: Tensor) -> Tensor:
            return self.layer(z)

    with pytest.raises(UserError, match="pixels are for images, and this network returns points"):
        export(seeded(Dots), tmp_path / "a.onnx", {}, pixels="NCHW")
    assert not list(tmp_path.iterdir())


# --- Precisions


def test_half_precision(tmp_path: Path) -> None:
    network = seeded(lambda: Small(width=64))
    full, half = (export(network, tmp_path / f"{name}.onnx", {}, precision=name) for name in ("fp32", "fp16"))
    assert (full["precision"], half["precision"]) == ("fp32", "fp16")
    assert full["parity"]["max_difference"] < half["parity"]["max_difference"] <= half["parity"]["tolerance"] == 5e-3
    assert (tmp_path / "fp16.onnx").stat().st_size < 0.7 * (tmp_path / "fp32.onnx").stat().st_size
    model = onnx.load(tmp_path / "fp16.onnx")
    ends = [*model.graph.input[:1], *model.graph.output]
    assert all(value.type.tensor_type.elem_type == TensorProto.FLOAT for value in ends)
    arrays = network.signature.examples(40, seed=5)
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, arrays)).numpy()
    found = Generator(tmp_path / "fp16.onnx", providers=CPU)(*arrays)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-2 * np.ptp(expected)


class Normal(GeneratorNetwork):
    """The statistics of its norms leave the range of half precision, and values are shared by several of them."""

    def __init__(self, gain: float = 1.0, eps: float = 1e-5) -> None:
        super().__init__(Signature((Latent((8,)),), Points(4)))
        self.layer, self.one, self.other = nn.Linear(8, 4), nn.LayerNorm(4, eps), nn.LayerNorm(4)
        self.last = nn.Linear(4, 4)
        nn.init.constant_(self.one.weight, gain)

    def forward(self, z: Tensor) -> Tensor:
        wide = self.layer(z) * 2000
        return self.last((self.one(wide) - self.other(wide)) + self.one(wide))


def types_of(path: Path) -> dict[str, int]:
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    return types | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


@pytest.mark.parametrize(
    ("settings", "kind"),
    [((), TensorProto.FLOAT16), ((1e6, 1e16), TensorProto.FLOAT)],  # such a gain is no half
)
def test_normalizations_take_halves_unless_that_is_not_exact_enough(
    settings: tuple[float, ...], kind: int, tmp_path: Path
) -> None:
    document = export(seeded(lambda: Normal(*settings)), tmp_path / "a.onnx", {}, precision="fp16")
    assert document["parity"]["max_difference"] < 5e-3
    model, types = onnx.load(tmp_path / "a.onnx"), types_of(tmp_path / "a.onnx")
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    assert {types[name] for node in norms for name in node.input} == {kind}
    assert TensorProto.FLOAT16 in types.values()
    if kind == TensorProto.FLOAT16:
        assert kinds_of(tmp_path / "a.onnx").count("Cast") == 2  # of the input and of the output


def test_variances_that_no_half_can_hold(tmp_path: Path) -> None:
    class Batched(GeneratorNetwork):
        """Batch norms that cannot be part of a convolution, as they are before it."""

        def __init__(self) -> None:
            super().__init__(Signature((Latent((4, 3, 3)),), Image(2, 3, 3)))
            self.norm, self.conv = nn.BatchNorm2d(4, eps=1e-12), nn.Conv2d(4, 2, 3, padding=1)
            nn.init.constant_(self.norm.weight, 1e-4)
            assert isinstance(self.norm.running_var, Tensor)
            self.norm.running_var.fill_(1e-8)

        def forward(self, z: Tensor) -> Tensor:
            return torch.tanh(self.conv(torch.relu(self.norm(z))))

    export(seeded(Batched), tmp_path / "a.onnx", {}, precision="fp16")
    types, kinds = types_of(tmp_path / "a.onnx"), kinds_of(tmp_path / "a.onnx")
    assert (kinds.count("BatchNormalization"), kinds.count("Cast")) == (1, 2)
    (norm,) = [node for node in onnx.load(tmp_path / "a.onnx").graph.node if node.op_type == "BatchNormalization"]
    assert {types[name] for name in norm.input} == {TensorProto.FLOAT16}


class Modulated(GeneratorNetwork):
    """Modulated convolutions whose sums of squares are beyond the largest number of half precision."""

    def __init__(self) -> None:
        super().__init__(Signature((Latent((32, 4, 4)),), Image(3, 8, 8)))
        self.up, self.last = ModulatedConv2d(32, 16, 3, up=True), ModulatedConv2d(16, 3, 1, demodulate=False)

    def forward(self, z: Tensor) -> Tensor:
        x = self.up(z, 60 + 20 * z.mean((2, 3)))
        return torch.tanh(self.last(x, torch.full_like(x[:, :, 0, 0], 1 / 16)))


def test_half_precision_of_demodulation(tmp_path: Path) -> None:
    document = export(seeded(Modulated), tmp_path / "a.onnx", {}, precision="fp16")
    assert 0 < document["parity"]["max_difference"] < 5e-3
    types, model = types_of(tmp_path / "a.onnx"), onnx.load(tmp_path / "a.onnx")
    products = [types[node.output[0]] for node in model.graph.node if node.op_type in ("Gemm", "MatMul")]
    assert products == [TensorProto.FLOAT]
    convolutions = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert {types[node.input[1]] for node in convolutions} == {TensorProto.FLOAT16}


def test_what_is_computed_of_weights_alone(tmp_path: Path) -> None:
    """Norms of weights, and a weight transposed: the rewriting for CPUs sees a weight."""
    export(seeded(Modulated), tmp_path / "a.onnx", {}, target="cpu")
    kinds = kinds_of(tmp_path / "a.onnx")
    assert not {"Transpose", "ReduceSum"} & {*kinds}
    assert kinds.count("Pow") == 1, "of the styles"
    assert kinds.count("Slice") == 1, "of a map of 9 x 9 pixels, made of four of 5 x 5"


def test_half_precision_behind_what_was_squeezed_and_transposed(tmp_path: Path) -> None:
    class Steps(GeneratorNetwork):
        """A linear layer of the states of an LSTM: onnxruntime 1.31 ended the process when it opened such a file."""

        def __init__(self) -> None:
            super().__init__(Signature((Latent((5, 3)),), Sequence(2, 5)))
            self.lstm, self.head = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, z: Tensor) -> Tensor:
            return torch.tanh(self.head(self.lstm(z)[0])).transpose(1, 2)

    document = export(seeded(Steps), tmp_path / "a.onnx", {}, precision="fp16")
    assert 0 < document["parity"]["max_difference"] < 5e-3
    types = types_of(tmp_path / "a.onnx")
    (lstm,) = [node for node in onnx.load(tmp_path / "a.onnx").graph.node if node.op_type == "LSTM"]
    assert types[lstm.input[1]] == TensorProto.FLOAT
    assert TensorProto.FLOAT16 in types.values()


def test_half_precision_that_is_not_enough(tmp_path: Path) -> None:
    class Sharp(Small):
        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return torch.tanh(1000 * super().forward(z, y))

    with pytest.raises(GanzooError, match=r"differs from torch by .* more than the tolerance of 5e-03; nothing was"):
        export(seeded(Sharp), tmp_path / "a.onnx", {}, precision="fp16")
    assert not list(tmp_path.iterdir())


def test_integers(tmp_path: Path) -> None:
    network = seeded(lambda: Small(width=32))
    export(network, tmp_path / "full.onnx", {})
    document = export(network, tmp_path / "small.onnx", {}, precision="int8")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["full.onnx", "small.int8.png", "small.onnx"]
    assert (tmp_path / "small.onnx").stat().st_size < 0.5 * (tmp_path / "full.onnx").stat().st_size
    parity = document["parity"]
    assert document["precision"] == "int8"
    assert parity["psnr"] > parity["least_psnr"] == 30
    model = onnx.load(tmp_path / "small.onnx")
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "DepthToSpace", "Conv"} <= kinds
    assert "ConvTranspose" not in kinds
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    scales = [weights[node.input[1]] for node in model.graph.node if node.op_type == "DequantizeLinear"]
    assert max(np.prod(scale.dims) for scale in scales) > 1  # a scale for each channel
    arrays = network.signature.examples(200, seed=77)
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, arrays)).numpy()
    error = Generator(tmp_path / "small.onnx", providers=CPU)(*arrays) - expected
    assert -10 * np.log10(np.mean(error**2) / 4) == pytest.approx(parity["psnr"], abs=3)
    assert np.abs(error).mean() / 2 == pytest.approx(parity["mean_difference"], rel=0.3)


def test_integers_that_are_too_few(tmp_path: Path) -> None:
    class Outlier(Small):
        """Some channels are so large that nothing is left of the others in eight bits."""

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            hidden = self.body[:4](self.fc(z + self.embed(y)))
            scale = torch.ones(1, hidden.shape[1], 1, 1)
            scale[:, ::2] = 3000.0
            large = nn.functional.conv2d(hidden, torch.diag(scale.flatten())[:, :, None, None])
            small = nn.functional.conv2d(large, torch.diag(1 / scale.flatten())[:, :, None, None])
            return self.body[4:](small) * self.gain

    with pytest.raises(GanzooError, match=r"in int8 .* ratio to float32 is -?\d+\.\d dB, less than 30; nothing"):
        export(seeded(lambda: Outlier(gain=60)), tmp_path / "a.onnx", {}, precision="int8")
    assert not list(tmp_path.iterdir())


def test_integers_are_for_what_is_drawn(tmp_path: Path) -> None:
    class Same(Network):
        def __init__(self) -> None:
            super().__init__(Signature((Image(1, 4, 4),), Image(1, 4, 4)))
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    with pytest.raises(UserError, match="int8 is calibrated on latents, and this network takes image 'x'"):
        export(seeded(Same), tmp_path / "a.onnx", {}, precision="int8")


# --- Weights beside the file


def test_large_weights_lie_in_one_file_beside_it(tmp_path: Path) -> None:
    one, other = seeded(Small), seeded(lambda: Small(width=16))
    path = tmp_path / "here" / "model.onnx"
    export(one, path, {}, inline=1000)
    first = {file.name for file in path.parent.iterdir()}
    assert len(first) == 2
    (tmp_path / "here" / "model-other.data").write_text("somebody's")
    export(other, path, {}, inline=1000)
    second = {file.name for file in path.parent.iterdir()}
    assert second & first == {"model.onnx"}
    assert len(second) == 3
    moved = shutil.copytree(path.parent, tmp_path / "there")
    shutil.rmtree(path.parent)
    arrays = other.signature.examples(5)
    with torch.no_grad():
        expected = other(*map(torch.from_numpy, arrays)).numpy()
    np.testing.assert_allclose(Generator(moved / "model.onnx", providers=CPU)(*arrays), expected, atol=2e-5)
    with pytest.raises(ModelError, match="keeps weights in another file"):
        Generator((moved / "model.onnx").read_bytes(), providers=CPU)
    export(other, moved / "model.onnx", {})
    assert {file.name for file in moved.iterdir()} == {"model.onnx", "model-other.data"}


def test_a_failure_leaves_the_old_weights(tmp_path: Path) -> None:
    export(seeded(Small), tmp_path / "model.onnx", {}, inline=1000)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(GanzooError, match="differs from torch"):
        export(seeded(lambda: Small(width=9)), tmp_path / "model.onnx", {}, inline=1000, tolerance=0.0)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


# --- The command


def test_every_network_of_a_model(cli: Command, trained: dict[str, Path]) -> None:
    run = Path(shutil.copytree(trained["digits"], "run"))
    (run / "generator.onnx").unlink(missing_ok=True)
    outcome = cli("export", run, "--onnx", "--all")
    assert outcome.out.split() == [str(Path("run", name)) for name in ("generator.onnx", "discriminator.onnx")]
    critic = Onnx().load(run / "discriminator.onnx")
    assert critic.metadata["network"] == "discriminator"
    assert critic.signature["output"]["kind"] == "scores"
    documents = json.loads(cli("export", run, "--onnx", "--all", "--json", "--out", "all", "--pixels", "nhwc").out)
    assert [Path(path).name for path in documents] == ["generator.onnx", "discriminator.onnx"]
    assert [each["signature"]["output"]["dtype"] for each in documents.values()] == ["uint8", "float32"]
    blind = "discriminator: int8 is calibrated on latents, and this network takes image 'x'"
    cli("export", run, "--onnx", "--all", "--precision", "int8").refused(blind)
    cli("export", run, "--onnx", "--all", "--out", "a.onnx").refused("every network is a file", "a folder, not a.onnx")


def test_export_from_python(trained: dict[str, Path], tmp_path: Path) -> None:
    run = trained["digits"]
    entry = {"latent": "z", "vector": [0.5, 0.0, 0.0, 0.5], "range": [-3, 3], "method": "by hand"}
    extra = {"directions": {"bold": entry}, "license": "CC0"}
    written = ganzoo.export(run, tmp_path / "all", every_network=True, metadata=extra, pixels="NCHW")
    assert [*written] == [tmp_path / "all" / "generator.onnx", tmp_path / "all" / "discriminator.onnx"]
    main, other = written.values()
    assert (main["directions"], main["license"]) == (extra["directions"], "CC0")
    assert (other["directions"], other["license"]) == ({}, "CC0")  # it has no latents that they could be of
    assert main == Onnx().load(tmp_path / "all" / "generator.onnx").metadata
    (path,) = ganzoo.export(ganzoo.Run.open(run), tmp_path / "a.onnx", precision="fp16")
    assert Onnx().load(path).metadata["precision"] == "fp16"
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.onnx")}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"out": tmp_path / "a.pt"}, "unknown format 'pt'"),
        ({"format": "onnx", "out": tmp_path / "a.pt"}, "a file of the format onnx ends in .onnx, not "),
        ({"format": "onxn"}, "unknown format 'onxn'; did you mean 'onnx'"),
        ({"out": tmp_path / "a.onnx", "every_network": True}, "what is written to is a folder, not "),
        ({"out": tmp_path / "all", "every_network": True, "precision": "int8"}, "discriminator: int8 is calibrated"),
        ({"run": tmp_path / "nowhere"}, "there is no run folder"),
    ]
    for arguments, words in wrong:
        with pytest.raises(UserError, match=words):
            ganzoo.export(**{"run": run, **arguments})
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.onnx")} == before


def test_the_discriminator_is_that_of_the_last_step(trained: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    from ganzoo import Run, load_registry
    from ganzoo.runs.checkpoint import latest

    run = Run.open(trained["digits"])
    network, metadata = run.load(load_registry(), "discriminator")
    weights = load_file(latest(run.checkpoints) / "networks.safetensors")
    assert metadata["signature"]["output"]["kind"] == "scores"
    assert not network.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, weights[f"discriminator.{name}"])
    with pytest.raises(UserError, match="has no 'encoder'; it has: generator, discriminator"):
        run.load(load_registry(), "encoder")


def test_directions_go_into_the_file(cli: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    entry = {"latent": "z", "vector": [0.5, 0.0, 0.0, 0.5], "range": [-3, 3], "method": "by hand"}
    run, file = trained["digits"], tmp_path / "directions.json"
    for written in ({"bold": entry}, {"directions": {"bold": entry}, "latent_mean": {"z": [1, 2, 3, 4]}}):
        file.write_text(json.dumps(written))
        arguments = ("export", run, "--onnx", "--out", "a.onnx", "--directions", file)
        document = json.loads(cli(*arguments, "--json").out)
        assert document["directions"] == {"bold": entry}
        assert document.get("latent_mean") == written.get("latent_mean")
    wrong = [
        ("[", "is not JSON"),
        ("[]", "holds no directions"),
        (json.dumps({"bold": {**entry, "latent": "w"}}), "of a latent that the network does not have; it has: z"),
        (json.dumps({"bold": {**entry, "vector": [1.0]}}), "'bold' is no list of 4 numbers"),
        (json.dumps({"bold": {**entry, "range": [3, -3]}}), "does not run from a lower to a higher number"),
        (json.dumps({"bold": {**entry, "vector": [1.0, 2.0, 3.0, None]}}), "has what is no number"),
        (json.dumps({"bold": 3}), "the direction 'bold' is no object"),
    ]
    for text, words in wrong:
        file.write_text(text)
        cli(*arguments).refused(words)
    cli("export", run, "--onnx", "--directions", "nowhere.json").refused("cannot read nowhere.json")


def test_the_options_of_the_command(cli: Command, trained: dict[str, Path]) -> None:
    run = trained["digits"]
    outcome = cli("export", run, "--onnx", "--out", "a.onnx", "--precision", "int8", "--pixels", "NCHW")
    assert outcome.out == "a.onnx\n"
    assert "signal to noise" in outcome.err
    assert "a.int8.png" in outcome.err
    assert Path("a.int8.png").is_file()
    assert cli("sample", "a.onnx", "-n", "9", "--out", "nine.png").code == 0
    cli("export", run, "--onnx", "--precision", "int4").refused("int4")
    cli("export", run, "--onnx", "--pixels", "chwn").refused("chwn")
    points = trained["gaussians"]
    cli("export", points, "--onnx", "--out", "p.onnx", "--pixels", "nchw").refused("pixels are for images")


# --- Every bundled model


MODELS = (
    "dcgan wgan_gp_conv sngan r3gan began gan_fc cgan cgan_projection cgan_matching acgan cwgan_gp_conv cwgan_gp_fc"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.split())
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_bundled_model(name: str, precision: Any, tmp_path: Path) -> None:
    from ganzoo import load_config, load_registry
    from ganzoo.data.dataset import DataSpec

    torch.manual_seed(0)
    data = DataSpec("made", (Image(1, 28, 28, (0, 255)), Label(10)), 100)
    generator = load_config(load_registry(), name).build_trainer(data).networks["generator"].eval()
    parity = export(generator, tmp_path / "model.onnx", {}, precision=precision)["parity"]
    print(f"\n{name} {precision}: {parity}")
    if precision == "fp32":
        assert parity["max_difference"] <= 1e-5


@pytest.mark.gpu
def test_half_precision_on_a_gpu(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    network = seeded(lambda: Small(width=64))
    export(network, tmp_path / "model.onnx", {}, precision="fp16")
    generator = Generator(tmp_path / "model.onnx")
    assert generator.provider == "CUDAExecutionProvider"
    arrays = network.signature.examples(64)
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, arrays)).numpy()
    capfd.readouterr()
    assert np.abs(generator(*arrays) - expected).max() / 2 < 1e-2
    assert capfd.readouterr() == ("", "")  # cuDNN has no plan for some convolutions of halves
