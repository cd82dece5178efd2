"""Export of small networks of every sort: the file gives what torch gives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from ganzoo import (
    Attributes,
    Discriminator,
    GanzooError,
    Image,
    Label,
    Latent,
    Network,
    Points,
    Scores,
    Signature,
    load_registry,
)
from ganzoo import Generator as GeneratorNetwork
from ganzoo_exporters import parity
from ganzoo_exporters.export import BATCHES, export
from ganzoo_exporters.format import Onnx
from ganzoo_exporters.parity import batches
from ganzoo_runtime import Generator

ODD = (1, 2, 5, 17, 65)


class Fc(GeneratorNetwork):
    def __init__(self) -> None:
        super().__init__(Signature((Latent((8,)),), Points(2)))
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.LeakyReLU(0.2, True), nn.Linear(32, 2))

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class Conv(GeneratorNetwork):
    """Batch norm, dropout, spectral and weight norm, an in-place ReLU, channels_last weights, uniform latents."""

    def __init__(self) -> None:
        super().__init__(Signature((Latent((6, 2), "uniform"),), Image(3, 16, 16)))
        self.fc = spectral_norm(nn.Linear(12, 8 * 16))
        self.layers = nn.Sequential(
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(8, 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.Dropout(0.5),
            nn.Upsample(scale_factor=2, mode="nearest"),
            weight_norm(nn.Conv2d(8, 3, 3, padding=1)),
            nn.Tanh(),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.fc(z.flatten(1)).unflatten(1, (8, 4, 4)))


class Conditional(GeneratorNetwork):
    """Parameters and layers that are called what inputs, outputs and values of the graph are called."""

    def __init__(self) -> None:
        super().__init__(Signature((Latent((8,)), Label(5, tuple("abcdé"), name="linear")), Image(1, 4, 4, (0.0, 1.0))))
        self.z = nn.Embedding(5, 8)
        self.sample = nn.Parameter(torch.randn(8))
        self.linear = nn.Linear(8, 16)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.linear(z * self.z(labels) + self.sample).sigmoid().view(-1, 1, 4, 4)


class Described(GeneratorNetwork):
    """Two labels and attributes, in an order of their own."""

    def __init__(self) -> None:
        attributes = Attributes(3, ("size", "hue", "x=y"), ((0.5, -1.0, 2.0), (0.0, 3.0, 1.0)), name="what")
        super().__init__(
            Signature((Label(3), attributes, Latent((4,)), Label(2, ("a", "b"), name="side")), Image(1, 4, 4))
        )
        # The names are taken in torch.fx's graph modules.
        self.code, self.graph, self.linear = nn.Sequential(nn.Embedding(3, 4)), nn.Embedding(2, 4), nn.Linear(7, 16)
        self.meta = nn.Parameter(torch.ones(4))

    def forward(self, y: Tensor, what: Tensor, z: Tensor, side: Tensor) -> Tensor:
        told = z * self.code(y) + self.graph(side) * self.meta
        return self.linear(torch.cat([told, what], 1)).tanh().view(-1, 1, 4, 4)


class Translate(Network):
    """Takes its inputs as ``*rest``, one of them called as the output would be."""

    def __init__(self) -> None:
        fields = (Image(2, 4, 4, name="sample"), Attributes(3), Label(2, name="class"), Latent((4, 4), name="noise"))
        super().__init__(Signature(fields, Image(2, 4, 4, (-1.0, 3.0))))
        self.conv = nn.Conv2d(5, 2, 3, padding=1, padding_mode="reflect")

    def forward(self, image: Tensor, *rest: Tensor) -> Tensor:
        attributes, label, noise = rest
        maps = attributes[:, :, None, None].expand(-1, -1, 4, 4) * (1 + label[:, None, None, None])
        return self.conv(torch.cat([image, maps], 1)) + noise[:, None]


class Critic(Discriminator):
    """A map of scores, and an input that is not used."""

    def __init__(self) -> None:
        super().__init__(Signature((Image(1, 8, 8), Label(3)), Scores()))
        self.conv = nn.Conv2d(1, 1, 4, 2, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.conv(x)


NETWORKS: dict[str, Callable[[], Network]] = {
    "fc": Fc,
    "conv": Conv,
    "conditional": Conditional,
    "described": Described,
    "translate": Translate,
    "critic": Critic,
}


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Path, Any]:
    torch.manual_seed(0)
    network = NETWORKS[request.param]().train()
    for _ in range(5):  # moves the running means and the vectors of spectral norm
        network(*map(torch.from_numpy, network.signature.examples(16)))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = tmp_path_factory.mktemp("models") / f"{request.param}.onnx"
    metadata = {"model": request.param, "nested": {"license": "é ✓", "numbers": (1, 2.5, None)}}
    document = Onnx().export(network, path, metadata)
    assert network.training
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return network, path, document


def difference(network: Network, path: Path, batch: int) -> float:
    """The oracle: onnxruntime by hand, and torch in eval mode."""
    arrays = network.signature.examples(batch, seed=batch)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {field.name: array for field, array in zip(network.signature.inputs, arrays, strict=True)}
    (found,) = session.run(None, feed)
    with torch.no_grad():
        expected = network.eval()(*map(torch.from_numpy, arrays)).numpy()
    network.train()
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0.01
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("batch", sorted({*BATCHES, *ODD}))
def test_the_file_gives_what_torch_gives(exported: tuple[Network, Path, Any], batch: int) -> None:
    network, path, _ = exported
    assert difference(network, path, batch) < 1e-5


def test_the_interface_is_the_signature(exported: tuple[Network, Path, Any]) -> None:
    network, path, _ = exported
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == [field.name for field in network.signature.inputs]
    assert [value.name for value in model.graph.output] == [
        "sample_" if "sample" in [field.name for field in network.signature.inputs] else "sample"
    ]
    types = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64}
    for value, field in zip(model.graph.input, network.signature.inputs, strict=True):
        tensor = value.type.tensor_type
        assert tensor.elem_type == types[field.dtype]
        assert [size.dim_param or size.dim_value for size in tensor.shape.dim] == ["batch", *field.shape]
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_metadata_goes_around(exported: tuple[Network, Path, Any]) -> None:
    network, path, document = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    entries = session.get_modelmeta().custom_metadata_map
    assert set(entries) == {"ganzoo"}
    assert json.loads(entries["ganzoo"]) == document == Onnx().load(path).metadata
    assert document["schema"] == 1
    assert document["network"] == "generator"
    assert document["model"] == path.stem
    assert document["nested"] == {"license": "é ✓", "numbers": [1, 2.5, None]}
    assert Signature.from_json(document["signature"]) == network.signature
    parity = document["parity"]
    assert parity["batches"] == [1, 3, 64]
    assert 0 <= parity["max_difference"] <= parity["tolerance"] == 1e-5
    assert parity["reference"] == f"torch {torch.__version__.split('+')[0]}"
    print(f"\n{path.stem}: largest relative difference {parity['max_difference']:.2e}")


def test_no_trace_of_where_it_was_made(exported: tuple[Network, Path, Any]) -> None:
    _, path, _ = exported
    content = path.read_bytes()
    for trace in (b".py", b"/tmp", b"/work", b"site-packages", b"pkg.torch", b"stack_trace", b"Test", b"forward"):
        assert trace not in content, trace


def test_norms_are_folded_into_the_weights(exported: tuple[Network, Path, Any]) -> None:
    network, path, _ = exported
    if isinstance(network, Conv):
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        assert kinds == ["Reshape", "Gemm", "Relu", "Reshape", "ConvTranspose", "ConvTranspose", "Tanh"]


def test_the_runtime_draws_what_torch_draws(exported: tuple[Network, Path, Any]) -> None:
    from ganzoo.inference.sampling import draw_inputs as draw_latents

    network, path, _ = exported
    if isinstance(network, Fc | Conv | Conditional | Described):
        with torch.no_grad():
            expected = network.eval()(*draw_latents(network.signature, 70, 4)).numpy()
        network.train()
        np.testing.assert_allclose(Onnx().load(path).sample(70, seed=4, batch=32), expected, atol=2e-5)


def test_the_inputs_of_the_comparison_cover_the_conditions() -> None:
    y, what, _, side = Described().signature.examples(6)
    assert list(zip(y.tolist(), side.tolist(), strict=True)) == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    assert what.tolist() == [[0.5, -1.0, 2.0], [0.0, 3.0, 1.0]] * 3


def test_the_output_range_scales_the_difference() -> None:
    def zeros(*_: object) -> np.ndarray:
        return np.zeros((2, 1, 1, 1), np.float32)

    def measure(output: Any, values: np.ndarray) -> float:
        signature = Signature((Latent((1,)),), output)
        return parity.largest_difference(cast(Generator, zeros), [[]], [values], signature)[0]

    off = np.full((2, 1, 1, 1), 0.5, np.float32)
    assert measure(Image(1, 1, 1, (-1, 1)), off) == 0.25
    assert measure(Image(1, 1, 1, (0, 1)), off) == 0.5
    assert measure(Points(1), off) == 0.5
    assert measure(Points(1), off * 20) == 1.0
    assert measure(Points(1), off * np.nan) == np.inf
    with pytest.raises(GanzooError, match=r"returns \[2, 1, 1, 1\] where torch returns \[3, 1, 1, 1\]"):
        measure(Points(1), np.zeros((3, 1, 1, 1), np.float32))


def test_the_format_is_offered_as_a_plugin() -> None:
    from ganzoo_exporters import plugin

    spec = plugin.ganzoo_specs()[0]
    assert (spec.kind, spec.key, spec.load()) == ("format", "onnx", Onnx)
    assert load_registry().get("format", "onnx").spec == spec


@pytest.mark.gpu
def test_cuda_weights_and_cuda_runtime(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Conv().cuda().eval()
    export(network, tmp_path / "model.onnx", {})
    assert next(network.parameters()).is_cuda
    generator = Generator(tmp_path / "model.onnx")
    assert generator.provider == "CUDAExecutionProvider"
    expected = Generator(tmp_path / "model.onnx", providers=["CPUExecutionProvider"]).sample(100, seed=3)
    np.testing.assert_allclose(generator.sample(100, seed=3), expected, atol=1e-4)


@pytest.mark.parametrize(("side", "sizes"), [(28, [1, 3, 64]), (128, [1, 3, 64]), (256, [1, 3, 16]), (1024, [1, 3])])
def test_large_images_are_compared_in_smaller_batches(side, sizes):
    image = Image(3, side, side, range=(0, 255))
    assert batches(Signature((Latent((2,)),), image)) == sizes
    assert batches(Signature((image,), Latent((2,)))) == sizes
