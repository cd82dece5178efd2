"""What torchvision downloads."""

import gzip
import hashlib
import os
import pickle
import re
import shutil
import struct

import numpy as np
import pytest
from data_sets import everything

from ganzoo import UserError
from ganzoo_plugins.datasets.torchvision_sets import Cifar10, FashionMnist, Mnist


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def write_mnist(root, name="MNIST", parts=("train", "t10k")):
    rng = np.random.default_rng(0)
    written = {}
    for part, size in {"train": 30, "t10k": 12}.items():
        images, labels = rng.integers(0, 256, (size, 28, 28), np.uint8), rng.integers(0, 10, size, np.uint8)
        if part in parts:
            write_idx(root / name / "raw" / f"{part}-images-idx3-ubyte", images)
            write_idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", labels)
        written[part] = images, labels
    return written


def write_cifar(root, monkeypatch):
    from torchvision.datasets import CIFAR10

    rng, digests, written = np.random.default_rng(0), {}, {}
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    for name in [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)]:
        data, labels = rng.integers(0, 256, (4, 3072), np.uint8), rng.integers(0, 10, 4).tolist()
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels}))
        written[name] = data.reshape(-1, 3, 32, 32), labels
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    digests = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    for attribute in ("train_list", "test_list"):
        entries = [[name, digests[name]] for name, _ in getattr(CIFAR10, attribute)]
        monkeypatch.setattr(CIFAR10, attribute, entries)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": digests["batches.meta"]})
    return written


pytestmark = pytest.mark.usefixtures("network")


@pytest.mark.parametrize("split", ["train", "test", "all"])
@pytest.mark.parametrize(("dataset", "name"), [(Mnist, "MNIST"), (FashionMnist, "FashionMNIST")])
def test_mnist_files_are_read_as_they_are(tmp_path, network, dataset, name, split):
    written = write_mnist(tmp_path, name)
    parts = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}[split]
    batch = everything(dataset(dataset.Config(root=tmp_path, split=split)))
    np.testing.assert_array_equal(batch["x"][:, 0], np.concatenate([written[part][0] for part in parts]))
    np.testing.assert_array_equal(batch["y"], np.concatenate([written[part][1] for part in parts]))
    assert not network


def test_only_the_files_of_the_split_are_needed(tmp_path, network):
    write_mnist(tmp_path, parts=("train",))
    assert len(Mnist(Mnist.Config(root=tmp_path))) == 30
    assert not network
    with pytest.raises(UserError, match="t10k-images"):
        Mnist(Mnist.Config(root=tmp_path, split="all"))


def test_the_classes_have_names(tmp_path):
    write_mnist(tmp_path)
    write_mnist(tmp_path, "FashionMNIST")
    assert Mnist(Mnist.Config(root=tmp_path)).spec["y"].names == tuple("0123456789")
    assert FashionMnist(FashionMnist.Config(root=tmp_path)).spec["y"].names[1] == "Trouser"


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_cifar10(tmp_path, network, monkeypatch, split):
    written = write_cifar(tmp_path, monkeypatch)
    dataset = Cifar10(Cifar10.Config(root=tmp_path, split=split))
    batch = everything(dataset)
    parts = {"train": range(5), "test": [5], "all": range(6)}[split]
    arrays = [list(written.values())[part] for part in parts]
    np.testing.assert_array_equal(batch["x"], np.concatenate([images for images, _ in arrays]))
    assert batch["y"].tolist() == [label for _, labels in arrays for label in labels]
    assert dataset.spec["y"].names == tuple("abcdefghij")
    assert batch["x"].is_contiguous()
    assert not network


@pytest.mark.parametrize("dataset", [Mnist, FashionMnist, Cifar10])
def test_offline_is_one_sentence_that_says_what_to_do(tmp_path, network, dataset):
    with pytest.raises(UserError) as caught:
        dataset(dataset.Config(root=tmp_path / "data"))
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "data") in message
    assert "Name or service not known" in message
    assert "http" in message
    assert "--set data.root=FOLDER" in message
    assert network
    assert list((tmp_path / "data").iterdir()) == []


def test_a_root_that_cannot_be_written_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data\.root"):
        Mnist(Mnist.Config(root=tmp_path / "file"))


def serve(monkeypatch, root, broken=()):
    """Let torchvision download from files of our own."""
    from torchvision.datasets import MNIST, mnist

    archives = {}
    for path in (root / "MNIST" / "raw").iterdir():
        archives[f"{path.name}.gz"] = gzip.compress(path.read_bytes())
    resources = [(name, hashlib.md5(archives[name]).hexdigest()) for name, _ in MNIST.resources]
    monkeypatch.setattr(MNIST, "resources", resources)
    fetched = []

    def download(url, filename, **_):
        fetched.append(os.path.basename(filename))
        content = archives[fetched[-1]]
        with open(filename, "wb") as file:
            file.write(content[: len(content) // 2] if fetched[-1] in broken else content)

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", download)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)
    assert mnist.MNIST is MNIST
    return archives, fetched


def test_what_is_missing_is_downloaded_and_kept(tmp_path, monkeypatch):
    written = write_mnist(tmp_path / "source")
    _, fetched = serve(monkeypatch, tmp_path / "source")
    root = tmp_path / "root"
    for _ in range(2):
        batch = everything(Mnist(Mnist.Config(root=root)))
        np.testing.assert_array_equal(batch["x"][:, 0], written["train"][0])
        assert len(fetched) == 4  # the second time nothing is
    assert sorted(path.name for path in root.iterdir()) == ["MNIST"]


def test_an_incomplete_download_leaves_nothing_behind(tmp_path, monkeypatch):
    write_mnist(tmp_path / "source")
    serve(monkeypatch, tmp_path / "source", broken=("train-labels-idx1-ubyte.gz",))
    with pytest.raises(UserError, match="corrupted"):
        Mnist(Mnist.Config(root=tmp_path / "root"))
    assert list((tmp_path / "root").iterdir()) == []


def test_archives_that_lie_there_are_used(tmp_path, monkeypatch):
    write_mnist(tmp_path / "source")
    archives, fetched = serve(monkeypatch, tmp_path / "source")
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in archives.items():
        (raw / name).write_bytes(content)
    assert len(Mnist(Mnist.Config(root=tmp_path / "root"))) == 30
    assert not fetched


def test_a_file_cut_short_is_named(tmp_path, network):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    for content in (path.read_bytes()[:-100], b"", b"<html>"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{re.escape(str(path))} is damaged"):
            Mnist(Mnist.Config(root=tmp_path))
    shutil.copy(tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte", path)
    with pytest.raises(UserError, match="do not belong together"):
        Mnist(Mnist.Config(root=tmp_path))
    assert not network


def test_damaged_cifar10_is_not_unpickled(tmp_path, network, monkeypatch):
    write_cifar(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"cos\nabort\n(tR.")
    with pytest.raises(UserError, match="damaged"):
        Cifar10(Cifar10.Config(root=tmp_path))
    assert not network


def test_the_root_is_the_variable_or_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Mnist.Config().root == tmp_path / ".cache" / "ganzoo" / "data"
    monkeypatch.setenv("GANZOO_DATA", "/somewhere")
    assert str(Mnist.Config().root) == "/somewhere"
