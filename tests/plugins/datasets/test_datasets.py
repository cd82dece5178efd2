"""The bundled data sets: what their specs promise, folders of images good and bad, and no network."""

import gzip
import hashlib
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import urllib.request
from urllib.error import URLError

import numpy as np
import PIL.Image
import pytest
import torch
from pydantic import ValidationError

from ganzoo import Attributes, DataSpec, Image, Label, Points, Stream, UserError
from ganzoo_plugins.datasets.digits import Digits
from ganzoo_plugins.datasets.folder import Folder
from ganzoo_plugins.datasets.mnist5k import Mnist5k
from ganzoo_plugins.datasets.plugin import ganzoo_specs
from ganzoo_plugins.datasets.points import Curves, Gaussians
from ganzoo_plugins.datasets.torchvision_sets import Cifar10, FashionMnist, Mnist


def everything(dataset) -> dict[str, torch.Tensor]:
    """All the samples in their order, held against the spec."""
    batch = dataset.batch(torch.arange(len(dataset)), torch.Generator().manual_seed(0))
    assert list(batch) == [field.name for field in dataset.spec.fields]
    assert len(dataset) == dataset.spec.size > 0
    for field in dataset.spec.fields:
        values = batch[field.name]
        assert tuple(values.shape) == (len(dataset), *field.shape)
        match field:
            case Image():
                assert values.dtype == torch.uint8
                assert field.range == (0, 255)
            case Label():
                assert values.dtype == torch.int64
                assert values.min() >= 0
                assert values.max() < field.classes == len(field.names)
            case Points() | Attributes():
                assert values.dtype == torch.float32
                assert values.isfinite().all()
    return batch


# --- the plugin ---------------------------------------------------------------------------------------------------


def test_every_spec_loads_and_describes_its_settings():
    specs = [spec for spec in ganzoo_specs() if spec.kind == "dataset"]
    assert len({spec.key for spec in specs}) == len(specs)
    for spec in specs:
        dataset = spec.load()
        assert dataset.__doc__
        assert all(field.description for field in dataset.Config.model_fields.values())
        with pytest.raises(ValidationError):
            dataset.Config(no_such_setting=1, **({"path": "."} if spec.key in ("folder", "shards", "hf") else {}))


def test_listing_the_data_sets_imports_nothing_heavy():
    code = (
        "import sys; from ganzoo_plugins.datasets.plugin import ganzoo_specs; ganzoo_specs(); "
        "print([m for m in ('torch', 'numpy', 'PIL', 'pydantic', 'sklearn', 'mlxtend') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# --- digits that come with the installation -----------------------------------------------------------------------


def test_mnist5k():
    dataset = Mnist5k(Mnist5k.Config())
    batch = everything(dataset)
    assert dataset.spec.name == "mnist5k"
    assert dataset.spec.sample.shape == (1, 28, 28)
    assert batch["y"].bincount().tolist() == [500] * 10
    assert (batch["x"].min(), batch["x"].max()) == (0, 255)
    assert 25 < batch["x"].float().mean() < 45  # white ink on black, the mean of MNIST is 33.3
    assert dataset.spec["y"].names == tuple("0123456789")
    center = batch["x"][:, 0, 12:16, 12:16].float().mean((1, 2))
    assert center[batch["y"] == 0].mean() < center[batch["y"] == 1].mean() / 4  # a nought is hollow, a one is not


def test_digits():
    dataset = Digits(Digits.Config())
    batch = everything(dataset)
    assert (dataset.spec.name, len(dataset), dataset.spec.sample.shape) == ("digits", 1797, (1, 8, 8))
    assert (batch["x"].min(), batch["x"].max()) == (0, 255)
    assert len(batch["x"].unique()) == 17
    assert batch["y"][:10].tolist() == list(range(10))
    nought = batch["x"][0, 0]  # the first of scikit-learn's, row by row: 0 0 5 13 9 1 0 0 / 0 0 13 15 10 15 5 0 / ...
    assert (nought[:2].float() * 16 / 255).round().tolist() == [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]]


# --- points -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "modes", "reach"),
    [
        ({}, 9, 2**0.5),
        ({"modes": 5, "spacing": 2.0}, 25, 4 * 2**0.5),
        ({"modes": 2}, 4, 0.5**0.5),
        ({"layout": "ring"}, 8, 1.0),
        ({"layout": "ring", "modes": 3, "radius": 2.0, "sigma": 0.01}, 3, 2.0),
    ],
)
def test_gaussians(settings, modes, reach):
    dataset = Gaussians(Gaussians.Config(size=20_000, **settings))
    points = everything(dataset)["x"]
    assert dataset.metrics == ("modes",)
    assert tuple(dataset.centers.shape) == (modes, 2)
    torch.testing.assert_close(dataset.centers.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert dataset.centers.norm(dim=1).max().item() == pytest.approx(reach)
    distance, nearest = torch.cdist(points, dataset.centers).min(1)
    assert nearest.bincount(minlength=modes).min() > 0.8 * len(points) / modes
    assert distance.square().mean().item() == pytest.approx(2 * dataset.sigma**2, rel=0.05)


def test_neighbors_on_the_grid_are_spacing_apart():
    centers = Gaussians(Gaussians.Config(size=10, spacing=0.5)).centers
    gaps = torch.cdist(centers, centers) + 9 * torch.eye(9)
    torch.testing.assert_close(gaps.min(1).values, torch.full((9,), 0.5))


@pytest.mark.parametrize("dataset", [Gaussians, Curves])
def test_points_depend_on_their_own_seed_alone(dataset):
    first = everything(dataset(dataset.Config(size=50)))["x"]
    state = torch.get_rng_state()
    assert torch.equal(first, everything(dataset(dataset.Config(size=50)))["x"])
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, everything(dataset(dataset.Config(size=50, sample_seed=1)))["x"])


@pytest.mark.parametrize(
    ("curve", "misses"),
    [
        ("line", lambda x, y: y - x),
        ("parabola", lambda x, y: y - x**2),
        ("sine", lambda x, y: y - (torch.pi * x).sin()),
        ("circle", lambda x, y: ((x - 2) ** 2 + y**2).sqrt() - 1),
        ("spiral", lambda x, y: (4 * torch.pi * torch.hypot(x - 2, y) - torch.atan2(y, x - 2)).sin()),
    ],
)
def test_curves(curve, misses):
    dataset = Curves(Curves.Config(curve=curve, x_min=1, x_max=3, noise=0, size=5000))
    x, y = everything(dataset)["x"].unbind(1)
    assert misses(x, y).abs().max() < 1e-4
    assert 1 <= x.min() < (1.3 if curve == "spiral" else 1.1)
    assert 2.85 < x.max() <= 3
    noisy = Curves(Curves.Config(curve=curve, x_min=1, x_max=3, noise=0.1, size=5000))
    assert (everything(noisy)["x"] - everything(dataset)["x"]).std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("settings", [{"x_min": 1, "x_max": 1}, {"noise": -1}, {"size": 0}, {"x_min": float("nan")}])
def test_impossible_curves_are_refused(settings):
    with pytest.raises(ValidationError):
        Curves.Config(**settings)


# --- what torchvision downloads -----------------------------------------------------------------------------------


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


@pytest.fixture(autouse=True)
def network(monkeypatch):
    """No test reaches a network; the list is of what was asked for."""
    asked = []

    def unreachable(request, *args, **kwargs):
        asked.append(request.full_url)
        raise URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.delenv("GANZOO_DATA", raising=False)
    return asked


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


# --- folders of images --------------------------------------------------------------------------------------------


def noise(height, width, channels=3, seed=0):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (noise(8, 6) if image is None else image).save(path, **options)
    return path


def load(path, **settings) -> Folder:
    return Folder(Folder.Config(path=path, **settings))


def one(path, **settings) -> np.ndarray:
    """The only image of a folder, HWC."""
    return everything(load(path, **settings))["x"][0].permute(1, 2, 0).numpy()


def test_subfolders_are_classes(tmp_path):
    for seed, name in enumerate(["cat/2.png", "cat/1.png", "dog/deep/er/3.PNG", "ape/0.png"]):
        save(tmp_path / name, noise(8, 6, seed=seed))
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    save(tmp_path / ".hidden" / "x.png")
    (tmp_path / "cat" / "._2.png").write_bytes(b"what a Mac leaves behind")
    dataset = load(tmp_path)
    batch = everything(dataset)
    assert dataset.spec.name == "folder"
    assert dataset.spec["y"] == Label(3, ("ape", "cat", "dog"))
    assert [file.replace(os.sep, "/") for file in dataset.files] == [
        "ape/0.png", "cat/1.png", "cat/2.png", "dog/deep/er/3.PNG",
    ]  # fmt: skip
    assert batch["y"].tolist() == [0, 1, 1, 2]
    assert dataset.in_memory
    assert dataset.skipped == 2  # the hidden ones
    for image, seed in zip(batch["x"], [3, 1, 0, 2], strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0), np.asarray(noise(8, 6, seed=seed)))
    some = dataset.batch(torch.tensor([3, 0, 3]), torch.Generator())
    assert some["y"].tolist() == [2, 0, 2]
    assert torch.equal(some["x"], batch["x"][[3, 0, 3]])
    assert "y" not in load(tmp_path, labels=False).spec


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_a_table_of_attributes_takes_the_place_of_classes(tmp_path, memory, caplog):
    for seed, name in enumerate(["cat/1.png", "dog/2.png", "dog/3.png"]):
        save(tmp_path / name, noise(8, 6, seed=seed))
    (tmp_path / "dog" / "broken.png").write_bytes(b"none")
    table = tmp_path / "about" / "table.csv"
    table.parent.mkdir()
    lines = [
        "file,age, weight ", "dog/3.png, 3.5,-1", "", "cat/1.png,1,1e3", "dog/broken.png,0,0",
        "./dog/2.png,2,7", '"not, there.png",0,0',
    ]  # fmt: skip
    table.write_text("\r\n".join(lines), encoding="utf-8-sig")
    dataset = load(tmp_path, attributes="about/table.csv", memory=memory)
    assert [file.replace(os.sep, "/") for file in dataset.files] == ["cat/1.png", "dog/2.png", "dog/3.png"]
    wanted = [[1.0, 1000.0], [2.0, 7.0], [3.5, -1.0]]
    assert everything(dataset)["y"].tolist() == wanted
    assert dataset.spec["y"] == Attributes(2, ("age", "weight"), tuple(map(tuple, wanted)))
    assert dataset.batch(torch.tensor([2, 0]), torch.Generator())["y"].tolist() == [wanted[2], wanted[0]]
    assert DataSpec.from_json(json.loads(json.dumps(dataset.spec.to_json()))) == dataset.spec


def test_a_few_attributes_are_shown_from_all_over_the_folder(tmp_path):
    for number in range(40):
        save(tmp_path / f"{number:02}.png")
    (tmp_path / "t.csv").write_text("file,number\n" + "".join(f"{number:02}.png,{number}\n" for number in range(40)))
    examples = [row[0] for row in load(tmp_path, attributes="t.csv").spec["y"].examples]
    assert len(examples) == 16
    assert (examples[0], examples[-1]) == (0, 39)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("file,age\na.png,1\n", "has no line for b.png"),
        ("file,age\n", "has no line for a.png and 1 more images"),
        ("file,age\na.png,1\n\nb.png,old\n", r"line 4 of .*t\.csv: age is 'old', which is not a number"),
        ("file,age\na.png,nan\n", "line 2 .* 'nan'"),
        ("file,age\na.png,1e39\n", "line 2 .* '1e39'"),
        ("file,age\na.png,\n", "line 2 .* ''"),
        ("file,age\na.png,1,2\n", "line 2 .* has 3 columns, the first line 2"),
        ("file,age\na.png\n", "line 2 .* has 1 columns"),
        ("file,age\na.png,1\na.png,2\n", "line 3 .* a.png is there a second time"),
        ("", "line 1 .* names the columns"),
        ("file\na.png\n", "line 1 .* names the columns"),
        ("file,age,age\n", "line 1 .* names the columns"),
        ('file,age\n"a.png,1\n', "is not CSV"),
        (b"file,age\n\xff.png,1\n", "is not UTF-8 text"),
    ],
)
def test_a_bad_table_is_the_users_mistake(tmp_path, text, problem):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=problem):
        load(tmp_path, attributes="t.csv")


def test_a_table_elsewhere_is_refused(tmp_path):
    save(tmp_path / "images" / "a.png")
    outside = tmp_path / "t.csv"
    outside.write_text("file,age\na.png,1\n")
    (tmp_path / "images" / "link.csv").symlink_to(outside)
    for name in ("../t.csv", str(outside), "link.csv"):
        with pytest.raises(UserError, match=r"is not in .*images"):
            load(tmp_path / "images", attributes=name)
    with pytest.raises(UserError, match=r"cannot read .*none.csv: No such file"):
        load(tmp_path / "images", attributes="none.csv")


@pytest.mark.parametrize("names", [["a.png", "b.png"], ["a.png", "cat/b.png", "dog/c.png"], ["cat/a.png"]])
def test_images_without_classes(tmp_path, names):
    for name in names:
        save(tmp_path / name)
    dataset = load(tmp_path)
    assert len(dataset) == len(names)
    assert list(everything(dataset)) == ["x"]


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "tiff", "webp", "jpg", "jpeg", "JPG"])
def test_formats(tmp_path, suffix):
    plain = PIL.Image.new("RGB", (6, 8), (200, 100, 50))
    save(tmp_path / f"a.{suffix}", plain)
    np.testing.assert_allclose(one(tmp_path), np.broadcast_to([200, 100, 50], (8, 6, 3)), atol=4)


def test_the_first_frame_counts(tmp_path):
    frames = [PIL.Image.new("RGB", (6, 8), color) for color in ("red", "blue")]
    save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(one(tmp_path)[0, 0], [255, 0, 0])


def test_grey(tmp_path):
    image = noise(8, 6)
    save(tmp_path / "a.png", image)
    dataset = load(tmp_path, mode="grey")
    assert dataset.spec.sample == Image(1, 8, 6, range=(0, 255))
    np.testing.assert_array_equal(everything(dataset)["x"][0, 0], np.asarray(image.convert("L")))


def test_transparency_is_laid_on_white(tmp_path):
    image = PIL.Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 128))
    palette = PIL.Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    save(tmp_path / "a.png", image)
    save(tmp_path / "b.png", PIL.Image.new("LA", (2, 1), (0, 0)))
    save(tmp_path / "c.png", palette, transparency=0)
    pixels = everything(load(tmp_path))["x"][:, :, 0].mT  # [image, column, channel]
    assert pixels[0].tolist() == [[255, 255, 255], [255, 127, 127]]
    assert pixels[1].tolist() == [[255, 255, 255]] * 2
    assert pixels[2].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    save(tmp_path / "a.png", PIL.Image.fromarray(np.array([[0, 0x1234, 0x8000, 0xFFFF]], np.uint16)))
    assert one(tmp_path, mode="grey").ravel().tolist() == [0, 0x12, 0x80, 0xFF]


def test_black_and_white(tmp_path):
    save(tmp_path / "a.png", PIL.Image.fromarray(np.array([[False, True]])))
    assert one(tmp_path, mode="grey").ravel().tolist() == [0, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotation_mark_is_obeyed(tmp_path, orientation):
    upright = noise(8, 6)
    stored = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(upright))  # fmt: skip
    mark = PIL.Image.Exif()
    mark[0x0112] = orientation
    save(tmp_path / "a.png", PIL.Image.fromarray(np.ascontiguousarray(stored)), exif=mark)
    save(tmp_path / "b.png", upright)
    batch = everything(load(tmp_path))["x"]
    assert torch.equal(batch[0], batch[1])


def test_resizing(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255  # the middle square is white
    save(tmp_path / "a.png", PIL.Image.fromarray(wide))
    save(tmp_path / "b.png", PIL.Image.fromarray(wide.swapaxes(0, 1)))
    cropped = everything(load(tmp_path, size=8))["x"]
    assert tuple(cropped.shape) == (2, 3, 8, 8)
    assert cropped.min() > 150  # at the edge the filter sees the black beside it
    stretched = everything(load(tmp_path, size=[6, 9], resize="stretch"))["x"]
    assert tuple(stretched.shape) == (2, 3, 6, 9)
    assert stretched[0, 0, :, 0].max() == 0
    assert stretched[0, 0, :, 4].min() == 255
    assert stretched[1, 0, 0].max() == 0


def test_images_of_several_sizes_need_a_setting(tmp_path):
    save(tmp_path / "a.png", noise(8, 6))
    save(tmp_path / "b.png", noise(6, 8))
    with pytest.raises(UserError, match=r"a\.png is 8 high and 6 wide.*--set data\.size="):
        load(tmp_path)


def test_flip_is_drawn_from_the_streams_generator(tmp_path):
    image = save(tmp_path / "a.png")
    upright = torch.from_numpy(np.array(PIL.Image.open(image))).permute(2, 0, 1)
    indices, rng = torch.zeros(200, dtype=torch.int64), torch.Generator().manual_seed(0)
    batch = load(tmp_path, flip=True).batch(indices, rng)["x"]
    same = (batch == upright).flatten(1).all(1)
    assert (batch == upright.flip(2)).flatten(1).all(1).equal(~same)
    assert 70 < same.sum() < 130
    assert (load(tmp_path).batch(indices, rng)["x"] == upright).all()


def mixed(root):
    """Eight images in three classes, in several formats and sizes."""
    for seed in range(8):
        suffix = ("png", "jpg", "webp", "gif")[seed % 4]
        save(root / "abc"[seed % 3] / f"{seed}.{suffix}", noise(10 + seed, 12, seed=seed))
    return root


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("settings", [{"size": 8, "flip": True}, {"size": [5, 7], "mode": "grey"}])
def test_lazy_equals_in_memory(tmp_path, settings, workers):
    whole, lazy = load(mixed(tmp_path), **settings), load(tmp_path, memory=10, **settings)
    assert (whole.in_memory, lazy.in_memory) == (True, False)
    assert whole.spec == lazy.spec
    assert pickle.loads(pickle.dumps(lazy)).spec == lazy.spec
    streams = [Stream(dataset, 3, seed=1, workers=workers) for dataset in (whole, lazy)]
    for _ in range(6):
        one, other = (next(stream) for stream in streams)
        assert torch.equal(one["x"], other["x"])
        assert torch.equal(one["y"], other["y"])


def test_mirrored_and_lazy_images_are_not_gathered_elsewhere(tmp_path):
    root = mixed(tmp_path)
    plain = load(root, size=8)
    assert plain.rows.keys() == {"x", "y"}
    assert load(root, size=8, flip=True).rows is None
    assert load(root, size=8, memory=10).rows is None
    assert load(root, size=8, labels=False).rows.keys() == {"x"}


def test_memory_is_compared_with_the_decoded_pixels(tmp_path):
    save(tmp_path / "a.png", noise(8, 6))
    assert load(tmp_path, memory=8 * 6 * 3).in_memory
    assert not load(tmp_path, memory=8 * 6 * 3 - 1).in_memory
    assert Folder.Config(path=tmp_path, memory="2KiB").memory == 2048
    with pytest.raises(ValidationError):
        Folder.Config(path=tmp_path, memory=-1)


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_corrupt_images_are_named_and_left_out(tmp_path, caplog):
    mixed(tmp_path)
    cut_short(tmp_path / "a" / "0.png")
    (tmp_path / "b" / "1.jpg").write_bytes(b"")
    (tmp_path / "b" / "x.png").write_bytes(b"GIF of a cat")
    (tmp_path / "c" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    dataset = load(tmp_path, size=8)
    assert dataset.skipped == 4
    assert len(everything(dataset)["x"]) == 6
    assert dataset.spec["y"].classes == 3
    for name in ("0.png", "1.jpg", "x.png", "gone.png"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1
    assert {record.name for record in caplog.records} == {"ganzoo"}


def test_a_lazy_image_found_corrupt_is_replaced_by_another(tmp_path, caplog):
    mixed(tmp_path)
    cut_short(tmp_path / "a" / "0.png")
    (tmp_path / "c" / "5.jpg").write_bytes(b"")  # seen at once, from its header
    dataset = load(tmp_path, size=8, memory=0)
    assert dataset.skipped == 1
    batch = everything(dataset)
    (taken,) = (index for index in range(1, len(dataset)) if torch.equal(batch["x"][0], batch["x"][index]))
    assert batch["y"][0] == batch["y"][taken]
    again = everything(load(tmp_path, size=8, memory=0))
    assert torch.equal(again["x"], batch["x"]), "the same one whenever it is read, as a resumed training needs"
    everything(dataset)
    assert caplog.text.count("0.png cannot be read") == 2, "once for each of the two"


def test_a_lazy_folder_of_which_half_is_corrupt_is_used_all_the_same(tmp_path, caplog):
    """Also where whole stretches of it are; every good image may stand in for a broken one."""
    for index in range(80):
        path = tmp_path / f"{'a' if index < 40 else 'z'}{index}.png"
        PIL.Image.new("RGB", (8, 8), (3 * index, 0, 0)).save(path)
        if index < 40:
            path.write_bytes(path.read_bytes()[:45])  # the header, and a little
    dataset = load(tmp_path, size=8, memory=0)
    found = everything(dataset)["x"]
    assert len(found) == 80
    assert len({tuple(each.flatten().tolist()) for each in found[:40]}) > 13
    assert len(caplog.records) == 9, "eight are named, and then that there are more"


def test_what_no_header_can_hide_is_left_out_at_once(tmp_path, caplog):
    mixed(tmp_path)
    PIL.Image.new("I", (8, 8), 70_000).save(tmp_path / "a" / "wide.tif")
    os.mkfifo(tmp_path / "b" / "pipe.png")
    assert load(tmp_path, size=8, memory=0).skipped == 2
    assert "no known range" in caplog.text
    assert "pipe.png: it is not a regular file" in caplog.text


def test_a_folder_that_disappears_while_training_is_one_sentence(tmp_path):
    dataset = load(mixed(tmp_path / "images"), size=8, memory=0)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(UserError, match="could not be read one after another"):
        dataset.batch(torch.tensor([0]), torch.Generator())


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_nothing_but_corrupt_images_is_the_users_mistake(tmp_path, memory):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"no image in .* can be used"):
        load(tmp_path, memory=memory)


def test_pixels_of_unknown_range_are_refused(tmp_path, caplog):
    save(tmp_path / "a.tif", PIL.Image.fromarray(np.ones((4, 4), np.float32)))
    save(tmp_path / "b.png", noise(4, 4))
    assert load(tmp_path).files == ("b.png",)
    assert "no known range" in caplog.text


@pytest.mark.parametrize(
    ("name", "problem"), [("missing", "does not exist"), ("file", "is not a folder"), ("empty", "there are no images")]
)
def test_a_bad_folder_is_the_users_mistake(tmp_path, name, problem):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{problem}|in {re.escape(str(tmp_path / name))}") as caught:
        load(tmp_path / name)
    assert problem in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_symbolic_links_are_followed_and_rings_are_not(tmp_path):
    save(tmp_path / "elsewhere" / "a.png")
    images = tmp_path / "images"
    images.mkdir()
    (images / "link").symlink_to(tmp_path / "elsewhere")
    (images / "ring").symlink_to(images)
    (images / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert load(images).files == ("b.png", os.path.join("link", "a.png"))


def test_the_place_to_look_for_files_is_kept(tmp_path, monkeypatch):
    save(tmp_path / "images" / "a.png")
    monkeypatch.chdir(tmp_path)
    dataset = load("images", memory=0)
    monkeypatch.chdir("/")
    everything(dataset)


@pytest.mark.parametrize("settings", [{}, {"path": ".", "size": 0}, {"path": ".", "size": [1, 2, 3]}])
def test_impossible_folders_are_refused(settings):
    with pytest.raises(ValidationError):
        Folder.Config(**settings)
