"""torch-fidelity takes an exported generator as ``--input1``, without a line of ours between them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_fidelity
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from ganzoo import Generator, Image, Label, Latent, Signature
from ganzoo_exporters.export import export

SIZE, CLASSES = 6, 3


class Painter(Generator):
    """Color images of 16 x 16, with classes or without."""

    def __init__(self, conditional: bool) -> None:
        inputs = (Latent((SIZE,)), *((Label(CLASSES),) if conditional else ()))
        super().__init__(Signature(inputs, Image(3, 16, 16)))
        self.embed = nn.Embedding(CLASSES, SIZE) if conditional else None
        self.fc = nn.Linear(SIZE, 8 * 16)
        self.up = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1)
        )

    def forward(self, z: Tensor, *labels: Tensor) -> Tensor:
        if self.embed is not None:
            z = z + 3 * self.embed(*labels)
        return torch.tanh(5 * self.up(self.fc(z).unflatten(1, (8, 4, 4))))


class Plain(FeatureExtractorBase):
    """Sixteen averages of an image: of numbers in [-1, 1], or of pixels."""

    def __init__(self, name: str, features_list: Any, **_: Any) -> None:
        super().__init__(name, features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("means",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "means"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, images: Tensor) -> tuple[Tensor]:
        assert images.shape[1:] == (3, 16, 16)
        values = images.float() * 2 / 255 - 1 if images.dtype == torch.uint8 else images
        return (nn.functional.adaptive_avg_pool2d(values, 4).mean(1).flatten(1),)


class Images(torch.utils.data.Dataset[Tensor]):
    """A data set as torch-fidelity takes it: it yields images alone."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


@pytest.fixture(scope="module", params=[False, True], ids=["unconditional", "conditional"])
def painted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Painter, Path]:
    torch.manual_seed(0)
    network, folder = Painter(request.param).eval(), tmp_path_factory.mktemp("painted")
    export(network, folder / "numbers.onnx", {})
    export(network, folder / "pixels.onnx", {}, pixels="NCHW")
    return network, folder


@pytest.fixture(autouse=True)
def old_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch-fidelity 0.4.0 draws labels with an alias that NumPy took out in 1.24.
    monkeypatch.setattr(np, "int", int, raising=False)


@pytest.fixture(scope="module", autouse=True)
def plain() -> None:
    torch_fidelity.register_feature_extractor("plain", Plain)


def options(number: int, network: Painter, path: Path) -> dict[str, Any]:
    return {
        f"input{number}": str(path),
        f"input{number}_model_z_size": SIZE,
        f"input{number}_model_num_classes": CLASSES if len(network.signature.inputs) == 2 else 0,
        f"input{number}_model_num_samples": 200,
    }


def distance(network: Painter, one: Path, other: Path | Images) -> float:
    inputs = options(1, network, one) | (options(2, network, other) if isinstance(other, Path) else {"input2": other})
    found = torch_fidelity.calculate_metrics(
        **inputs, fid=True, feature_extractor="plain", cuda=False, verbose=False, cache=False, save_cpu_ram=True
    )
    return float(found["frechet_inception_distance"])


def test_numbers_and_pixels_are_one_distribution(painted: tuple[Painter, Path]) -> None:
    """Both files are given the same noise, so nothing but rounding to pixels is between them."""
    network, folder = painted
    assert distance(network, folder / "numbers.onnx", folder / "pixels.onnx") < 1e-3


def test_what_it_draws_is_what_the_network_draws(painted: tuple[Painter, Path]) -> None:
    """The figure is that of images drawn in torch for the noise that torch-fidelity draws, and not that of others."""
    network, folder = painted
    rng, rows = np.random.RandomState(2020), []
    for start in range(0, 200, 64):
        n = min(64, 200 - start)
        inputs = [torch.from_numpy(rng.randn(n, SIZE)).float()]
        if len(network.signature.inputs) == 2:
            inputs.append(torch.from_numpy(rng.randint(0, CLASSES, (n,))))
        with torch.no_grad():
            rows.append(network(*inputs))
    images = ((torch.cat(rows) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    assert distance(network, folder / "pixels.onnx", Images(images)) < 1e-3
    assert distance(network, folder / "pixels.onnx", Images(255 - images)) > 0.01


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the file format of the real ones, which would have to be downloaded."""
    from torch_fidelity import feature_extractor_inceptionv3 as home

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(home, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(home.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        net = torch_fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.slow
def test_its_command_takes_the_file(painted: tuple[Painter, Path], inception: Path, tmp_path: Path) -> None:
    """The command line as its documentation has it, with InceptionV3, which takes pixels alone."""
    network, folder = painted
    classes = CLASSES if len(network.signature.inputs) == 2 else 0
    arguments = f"""
        --input1 {folder / "pixels.onnx"} --input1-model-z-size {SIZE} --input1-model-num-classes {classes}
        --input1-model-num-samples 4 --batch-size 4 --isc --isc-splits 2 --cpu --no-cache --json
        --feature-extractor-weights-path {inception}
    """.split()
    script = "import numpy; numpy.int = int; from torch_fidelity.fidelity import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["inception_score_mean"] > 0.99  # random weights cannot tell one image from another
