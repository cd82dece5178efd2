"""MNIST and Fashion-MNIST from files that somebody has: packed or not, in torchvision's folders or flat, no network."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command

from ganzoo import UserError
from ganzoo_plugins.datasets.torchvision_sets import FashionMnist, Mnist

SETS = {"MNIST": Mnist, "FashionMNIST": FashionMnist}
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


pytestmark = pytest.mark.usefixtures("network")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = ((30, 28, 28), (30,), (12, 28, 28), (12,))
    pairs = zip(NAMES, shapes, strict=True)
    return {name: rng.integers(0, 256 if len(shape) > 1 else 10, shape, np.uint8) for name, shape in pairs}


def write(folder: Path, packed: str) -> dict[str, np.ndarray]:
    """Write the four files, packed, unpacked or every other one."""
    folder.mkdir(parents=True, exist_ok=True)
    written = arrays()
    for number, (name, array) in enumerate(written.items()):
        if packed == "packed" or (packed == "mixed" and number % 2):
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return written


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("packed", ["packed", "unpacked", "mixed"])
@pytest.mark.parametrize("layout", ["torchvision", "flat"])
@pytest.mark.parametrize("name", SETS)
def test_whatever_lies_there_is_read(tmp_path: Path, network: list[str], name: str, layout: str, packed: str) -> None:
    written = write(tmp_path / "own" / name / "raw" if layout == "torchvision" else tmp_path / "own", packed)
    before = contents(tmp_path)
    for split, parts in (("train", ["train"]), ("test", ["t10k"]), ("all", ["train", "t10k"])):
        dataset = SETS[name](SETS[name].Config(root=tmp_path / "own", split=split))
        images = np.concatenate([written[f"{part}-images-idx3-ubyte"] for part in parts])
        labels = np.concatenate([written[f"{part}-labels-idx1-ubyte"] for part in parts])
        np.testing.assert_array_equal(dataset.tensors["x"][:, 0], images)
        np.testing.assert_array_equal(dataset.tensors["y"], labels)
        assert dataset.tensors["y"].dtype == torch.int64
    assert contents(tmp_path) == before, "the folder may be somebody else's"
    assert not network


def test_what_torchvision_has_unpacked_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "packed")
    written = write(tmp_path / "MNIST" / "raw", "unpacked")
    for name in NAMES:
        (tmp_path / f"{name}.gz").write_bytes(b"not looked at")
    dataset = Mnist(Mnist.Config(root=tmp_path))
    np.testing.assert_array_equal(dataset.tensors["y"], written["train-labels-idx1-ubyte"])


@pytest.mark.parametrize(
    "broken",
    [lambda content: content[:-20], lambda content: b"", lambda content: b"<html>", lambda content: gzip.compress(b"x"),
     lambda content: content[:40] + bytes(20) + content[60:]],
    ids=["cut", "empty", "a page", "something else", "changed"],
)  # fmt: skip
def test_a_damaged_archive_is_named(tmp_path: Path, network: list[str], broken) -> None:
    write(tmp_path, "packed")
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(broken(file.read_bytes()))
    with pytest.raises(UserError) as caught:
        Mnist(Mnist.Config(root=tmp_path))
    assert f"{file} is damaged or cut short" in str(caught.value)
    assert not network


def test_an_archive_that_unpacks_without_end_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganzoo_plugins.datasets.torchvision_sets._LARGEST", 2**20)
    write(tmp_path, "packed")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((2**11, 28, 28), np.uint8))))
    with pytest.raises(UserError, match="damaged"):
        Mnist(Mnist.Config(root=tmp_path))


def test_files_of_two_sets_are_told_apart_by_their_number(tmp_path: Path) -> None:
    write(tmp_path, "packed")
    images, labels = tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "train-labels-idx1-ubyte.gz"
    images.write_bytes((tmp_path / "t10k-images-idx3-ubyte.gz").read_bytes())
    with pytest.raises(UserError) as caught:
        Mnist(Mnist.Config(root=tmp_path))
    assert f"{images} and {labels} do not belong together" in str(caught.value)


def test_what_is_missing_is_still_looked_for_in_the_net(tmp_path: Path, network: list[str]) -> None:
    write(tmp_path, "packed")
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert len(Mnist(Mnist.Config(root=tmp_path))) == 30, "the training part needs none of it"
    with pytest.raises(UserError, match=r"there is no MNIST.raw.t10k-labels-idx1-ubyte.*data\.root"):
        Mnist(Mnist.Config(root=tmp_path, split="test"))
    assert network


def test_a_training_on_them(cli: Command, tmp_path: Path) -> None:
    write(tmp_path / "fashion", "packed")
    done = cli(
        "train", "-p", "gan_fc", "--data", "fashion_mnist", "--set", "data.root=fashion", "--set", "model.hidden=[8]",
        "--steps", 2, "-q",
    )  # fmt: skip
    assert done.code == 0, done.err
