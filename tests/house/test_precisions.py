"""Exports in halves and in integers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exported import Small, kinds_of, seeded
from onnx import TensorProto
from torch import Tensor, nn

from ganzoo import GanzooError, Image, Latent, Network, Points, Sequence, Signature, UserError
from ganzoo import Generator as GeneratorNetwork
from ganzoo_exporters.export import export
from ganzoo_plugins.networks.style import ModulatedConv2d
from ganzoo_runtime import Generator

CPU = ["CPUExecutionProvider"]


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
