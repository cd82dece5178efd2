"""Conditions of ``ganzoo sample``, by name, and its sheets with a column for each class."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Command
from PIL import Image as Pillow
from test_conditions import NETWORKS, Described, Labeled, exported
from torch import Tensor

from ganzoo import Attributes, Generator, Image, Label, Latent, Signature
from ganzoo.fields.drawing import grid
from ganzoo.images.grids import grid_columns, grid_size
from ganzoo.inference.model import TrainedModel
from ganzoo.inference.sampling import TorchSampler
from ganzoo.testing import bench
from ganzoo.training.engine import SINGLE
from ganzoo.training.sample_logger import SampleLogger


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return exported(tmp_path_factory.mktemp("conditions"))


@pytest.fixture(params=["file", "run"])
def model(request: pytest.FixtureRequest, files: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """From the name of a network to what the command is given: a file, or something that opens as a run does."""
    if request.param == "file":
        return lambda name: files[name]

    def opened(name: str) -> TrainedModel:
        network = NETWORKS[name]()
        return TrainedModel(TorchSampler(network, {"signature": network.signature.to_json()}), name)

    monkeypatch.setattr("ganzoo.inference.opening.load", opened)
    return lambda name: name


def drawn(cli: Command, *arguments: object) -> np.ndarray:
    outcome = cli("sample", *arguments, "--out", "a.npz")
    assert outcome.code == 0, outcome.err
    with np.load("a.npz") as file:
        return file["samples"]


def classes(cli: Command, *arguments: object) -> tuple[list[int], list[int]]:
    samples = np.rint(4 * drawn(cli, *arguments)).astype(int)
    return samples[:, 0, 0, 0].tolist(), samples[:, 0, 1, 0].tolist()


def test_labels_by_name(cli: Command, model: Any) -> None:
    labels = model("labels")
    everything = ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1])
    assert classes(cli, labels, "-n", 6) == everything
    assert classes(cli, labels, "-n", 6, "--label", "all") == everything
    assert classes(cli, labels, "-n", 3, "--label", "shape=all", "--label", "hue=3") == ([0, 1, 2], [3, 3, 3])
    assert classes(cli, labels, "-n", 5, "--label", "shape=square") == ([1] * 5, [0, 1, 2, 3, 0])
    assert classes(cli, labels, "-n", 2, "--label", "shape=cross=x", "--label", "hue=2") == ([2, 2], [2, 2])
    one = model("label")
    for text, index in (("2", 2), ("circle", 0), ("y=square", 1), ("y=1", 1), ("y=2", 2), ("y=y=2", 2)):
        assert classes(cli, one, "-n", 2, "--label", text)[0] == [index, index], text
    assert classes(cli, one, "-n", 4, "--label", "y=all")[0] == [0, 1, 2, 0]


def test_attributes_by_name(cli: Command, model: Any) -> None:
    found = drawn(cli, model("attributes"), "-n", 4, "--truncation", 0, "--attribute", "age=7e-1")
    assert found.tolist() == np.array([[x, 0.7] for x in (0.25, 0.5, 1.5, 0.25)], np.float32).tolist()
    found = drawn(cli, model("plain"), "-n", 2, "--truncation", 0, "--attribute", "1=-2", "--attribute", "0=3")
    assert found.tolist() == [[3, -2], [3, -2]]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("labels", ["--label", "1"], ["--label '1' does not say which label", "LABEL=CLASS", "hue, shape"]),
        ("labels", ["--label", "shap=1"], ["did you mean 'shape'?"]),
        ("labels", ["--label", "hue=4"], ["unknown --label 'hue=4'", "0 to 3"]),
        ("labels", ["--label", "shape=squar"], ["did you mean 'square'?"]),
        ("labels", ["--label", "hue=1", "--label", "hue=1"], ["--label gives hue twice"]),
        ("labels", ["--label", "hue=all", "--label", "hue=1"], ["--label gives hue twice"]),
        ("label", ["--label", "hue=1"], ["unknown --label 'hue=1'", "0 to 2"]),
        ("label", ["--label", "0", "--label", "y=1"], ["--label gives y twice"]),
        ("labels", ["--attribute", "age=1"], ["knows no attributes; leave --attribute out"]),
        ("attributes", ["--label", "1"], ["knows no labels; leave --label out"]),
        ("attributes", ["--attribute", "age"], ["--attribute is NAME=VALUE, not 'age'"]),
        ("attributes", ["--attribute", "agee=1"], ["unknown --attribute 'agee'", "did you mean 'age'?"]),
        ("attributes", ["--attribute", "0=1"], ["unknown --attribute '0'", "age, smiling"]),
        (
            "attributes",
            ["--attribute", "age=old"],
            ["--attribute age is a finite number that float32 can hold, not 'old'"],
        ),
        ("attributes", ["--attribute", "age=nan"], ["a finite number that float32 can hold, not 'nan'"]),
        ("attributes", ["--attribute", "age=1e39"], ["a finite number that float32 can hold, not '1e39'"]),
        ("attributes", ["--attribute", "age=1", "--attribute", "age=2"], ["--attribute gives age twice"]),
        ("plain", ["--attribute", "2=1"], ["unknown --attribute '2'", "0, 1"]),
    ],
)
def test_wrong_conditions_of_the_command(
    cli: Command, model: Any, name: str, arguments: list[str], words: list[str]
) -> None:
    cli("sample", model(name), *arguments, "-n", "2", "--out", "a.npz").refused(*words)
    assert not list(Path().iterdir())


# --- Sheets


def cells(path: Path, columns: int, rows: int, titled: int = 0) -> np.ndarray:
    """Return the four pixels of every image of a sheet of images of two by two pixels, [rows, columns, 2, 2].

    Above them are so many pixels of titles.
    """
    with Pillow.open(path) as sheet:
        pixels = np.asarray(sheet)
    pixels = pixels[titled:]
    scale, rest = divmod(pixels.shape[0], rows * 4 + 2)
    assert not rest
    assert pixels.shape == ((rows * 4 + 2) * scale, (columns * 4 + 2) * scale)
    small = pixels[::scale, ::scale][2:, 2:]
    return small.reshape(rows, 4, columns, 4).transpose(0, 2, 1, 3)[:, :, :2, :2]


def test_the_columns_of_a_sheet_are_the_classes(cli: Command, model: Any) -> None:
    def told(n: int, columns: int, rows: int, *arguments: object) -> np.ndarray:
        assert cli("sample", model("labels"), "-n", n, *arguments).code == 0
        return np.rint(cells(Path("samples.png"), columns, rows)[:, :, :, 0] / 255 * 4).astype(int)

    sheet = told(12, 3, 4)
    assert sheet[:, :, 0].tolist() == [[0, 1, 2]] * 4
    assert sheet[:, :, 1].tolist() == [[hue] * 3 for hue in range(4)]
    sheet = told(8, 4, 2, "--label", "shape=cross=x")  # the first label that is free
    assert sheet[:, :, 1].tolist() == [[0, 1, 2, 3]] * 2
    assert told(9, 3, 3, "--label", "shape=0", "--label", "hue=0").shape == (3, 3, 2)  # none is free
    assert told(2, 2, 1)[:, :, 0].tolist() == [[0, 1]]  # no white columns


def test_how_many_images_and_columns() -> None:
    def layout(*fields: Any) -> tuple[int | None, int]:
        signature = Signature((Latent((2,)), *fields), Image(1, 2, 2))
        return grid_columns(signature), grid_size(signature)

    assert layout() == (None, 64)
    assert layout(Attributes(3)) == (None, 64)
    assert layout(Label(1)) == (None, 64)
    assert layout(Label(10)) == (10, 80)
    assert layout(Label(16), Label(3, name="b")) == (16, 128)
    assert layout(Label(17), Label(3, name="b")) == (None, 64)
    assert grid(np.zeros((64, 2, 2, 1), np.uint8), 10, pad=0).shape[1] % 20 == 0


def sample_logger(network: Generator, folder: Path) -> SampleLogger:
    run: Any = SimpleNamespace(samples=folder, path=folder, document=dict, metrics=list)
    exports, settings = (lambda: {"generator": network}), SimpleNamespace(seed=0)
    registry: Any = SimpleNamespace(notify=lambda *_, **__: None)
    data: Any = next(iter(bench._stand_ins()))
    loop: Any = SimpleNamespace(
        exports=exports,
        settle=lambda: None,
        step=7,
        settings=settings,
        dataset=data,
        engine=SINGLE,
        ema={},
        divided=False,
    )
    return SampleLogger(run, loop, data, {}, registry)


def test_the_sheets_of_a_run(tmp_path: Path) -> None:
    labeled = sample_logger(Labeled().eval(), tmp_path / "labels")
    labeled.draw()
    sheet = cells(tmp_path / "labels" / "000007.png", 3, 8, titled=20)
    assert np.rint(sheet[..., 0, 0] / 255 * 4).tolist() == [[0, 1, 2]] * 8

    class Dots(Described):
        def __init__(self) -> None:
            super().__init__()
            self.signature = Signature(self.signature.inputs, Image(1, 2, 2))

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return y.tanh()[:, None, :, None].expand(-1, 1, 2, 2)

    described = sample_logger(Dots().eval(), tmp_path / "attributes")
    assert described.drawable
    described.draw()
    assert (tmp_path / "attributes" / "000007.png").is_file()
