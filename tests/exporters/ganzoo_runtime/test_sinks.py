"""Streams of samples into files: what is in them, how much memory they take, and what a failure leaves."""

import inspect
import io
import json
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import CPU, IMAGE, POINTS, build
from conftest import Command
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image as Pillow

import ganzoo
from ganzoo import Attributes, Image, Label, Latent, Signature, load_registry
from ganzoo_runtime import Generator, encode_png, pixels, sinks
from ganzoo_runtime.sinks import write_folder, write_npy, write_parquet, write_tar

COLOR = Signature((Latent((3, 2)), Label(5), Label(3, name="hue"), Attributes(2, name="a")), Image(3, 4, 6))


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def grey() -> Generator:
    return Generator(build(IMAGE), providers=CPU, threads=1)


@pytest.fixture(scope="module")
def color() -> Generator:
    return Generator(build(COLOR), providers=CPU, threads=1)


def drawn(generator: Generator, n: int) -> np.ndarray:
    return pixels(generator.sample(n, seed=1), generator.signature["output"]["range"])


def read(content: bytes) -> np.ndarray:
    with Pillow.open(io.BytesIO(content)) as image:
        image.load()
        array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)), elements=st.integers(0, 255)
    )
)
def test_pillow_reads_our_png(image: np.ndarray) -> None:
    channels = image.shape[-1]
    shown = image[..., : {2: 1, 5: 3}.get(channels, channels)]
    np.testing.assert_array_equal(read(encode_png(image)), shown)


@pytest.mark.parametrize("name", ["grey", "color"])
def test_a_folder_of_images(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> None:
    generator: Generator = request.getfixturevalue(name)
    write_folder(tmp_path / "deep" / "down", generator.stream(11, seed=1, batch=4), 11, generator.signature)
    files = sorted((tmp_path / "deep" / "down").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(11)]
    np.testing.assert_array_equal(np.stack([read(file.read_bytes()) for file in files]), drawn(generator, 11))


def test_an_array_on_disk(grey: Generator, tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", grey.stream(11, seed=1, batch=4), 11, grey.signature)
    found = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, grey.sample(11, seed=1), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_table(color: Generator, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "a.parquet", color.stream(11, seed=1, batch=4), 11, color.signature)
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert len(rows) == 11
    np.testing.assert_array_equal(np.stack([read(row["image"]) for row in rows]), drawn(color, 11))
    assert [row["y"] for row in rows] == [number % 5 for number in range(11)]
    assert [row["hue"] for row in rows] == [number // 5 % 3 for number in range(11)]
    assert rows[0]["a"] == [0, 0]
    points = Generator(build(POINTS), providers=CPU)
    write_parquet(tmp_path / "b.parquet", points.stream(5, seed=1, batch=2), 5, points.signature)
    found = parquet.read_table(tmp_path / "b.parquet")["sample"].to_pylist()
    np.testing.assert_allclose(found, points.sample(5, seed=1), atol=1e-6)


def test_a_table_without_pyarrow_is_one_sentence(
    grey: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"^Parquet files need pyarrow: pip install pyarrow$"):
        write_parquet(tmp_path / "a.parquet", grey.stream(3), 3, grey.signature)
    assert not list(tmp_path.iterdir())


def test_shards(color: Generator, grey: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tar(tmp_path / "one.tar", grey.stream(11, seed=1, batch=4), 11, grey.signature)
    with tarfile.open(tmp_path / "one.tar") as tar:
        names = tar.getnames()
        assert names[:3] == ["000000000.png", "000000000.cls", "000000000.json"]
        assert len(names) == 33
        labels = [int(tar.extractfile(name).read()) for name in names if name.endswith(".cls")]
        images = [read(tar.extractfile(name).read()) for name in names if name.endswith(".png")]
    assert labels == [number % 5 for number in range(11)]
    np.testing.assert_array_equal(np.stack(images), drawn(grey, 11))
    monkeypatch.setattr(sinks, "SHARD", 4)
    written = write_tar(tmp_path / "many.tar", color.stream(11, seed=1, batch=3), 11, color.signature)
    assert written.name == "many-{000000..000002}.tar"
    shards = sorted(tmp_path.glob("many*"))
    assert [shard.name for shard in shards] == [f"many-{number:06d}.tar" for number in range(3)]
    found = []
    for shard in shards:
        with tarfile.open(shard) as tar:
            found += [(name, tar.extractfile(name).read()) for name in tar.getnames()]
    assert [name for name, _ in found[::2]] == [f"{number:09d}.png" for number in range(11)]
    assert json.loads(dict(found)["000000007.json"]) == {"y": 2, "hue": 1, "a": [0.0, 0.0]}


@pytest.mark.parametrize("write", [write_folder, write_tar])
def test_only_images_become_pictures(write: Any, tmp_path: Path) -> None:
    points = Generator(build(POINTS), providers=CPU)
    with pytest.raises(ValueError, match=r"draws points, not images: write a \.npy or a \.parquet file"):
        write(tmp_path / "a", points.stream(3), 3, points.signature)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_npy, write_parquet, write_tar])
def test_a_failure_leaves_what_was_there(write: Any, grey: Generator, tmp_path: Path) -> None:
    if write is write_parquet:
        pytest.importorskip("pyarrow")

    def broken() -> Iterator[Any]:
        yield from grey.stream(5, batch=5)
        raise RuntimeError("the power failed")

    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError, match="the power failed"):
        write(tmp_path / "a", broken(), 10, grey.signature)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


@pytest.mark.parametrize("write", [write_folder, write_npy, write_parquet, write_tar])
def test_memory_does_not_grow_with_the_number_of_samples(write: Any, tmp_path: Path) -> None:
    if write is write_parquet:
        pytest.importorskip("pyarrow")
    signature = Signature((Latent((8,)), Label(3)), Image(1, 16, 16))
    generator = Generator(build(signature), providers=CPU, threads=1)

    def peak(n: int) -> int:
        tracemalloc.start()
        write(tmp_path / f"a{n}", generator.stream(n, batch=50), n, generator.signature)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    # The least of two: whatever else runs in this process is counted too.
    grown = min(peak(2000) - peak(200) for _ in range(2))
    samples = 1800 * 16 * 16 * 4
    assert grown < samples / 4


def test_pixels_inside_the_model(tmp_path: Path) -> None:
    """A file exported with pixels: uint8 in NHWC comes out as it is."""
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    output = {"kind": "image", "name": "x", "dtype": "uint8", "shape": [4, 6, 3], "range": [0, 255], "layout": "NHWC"}
    write_folder(tmp_path / "a", [(image, {})], 3, {"inputs": [], "output": output})
    found = [read(file.read_bytes()) for file in sorted((tmp_path / "a").iterdir())]
    np.testing.assert_array_equal(np.stack(found), image)
    np.testing.assert_array_equal(pixels(image.transpose(0, 3, 1, 2), (0, 255), "NCHW"), image)


def test_every_sink_is_called_alike() -> None:
    for entry in load_registry().specs("sink"):
        parameters = list(inspect.signature(entry.spec.load()).parameters)
        assert parameters == ["path", "pieces", "n", "signature"], entry.spec.key


# --- ganzoo sample


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(build(IMAGE))
    return Path("model.onnx")


def test_samples_into_every_sink(cli: Command, model: Path) -> None:
    expected = pixels(Generator(model, providers=CPU).sample(12, seed=3), (-1, 1))
    for out in ("folder", "a.npy", "a.tar", "a.npz"):
        outcome = cli("sample", model, "-n", "12", "--seed", "3", "--out", out)
        assert (outcome.code, outcome.out) == (0, f"{out}\n"), outcome
    np.testing.assert_array_equal(pixels(np.load("a.npy"), (-1, 1)), expected)
    np.testing.assert_array_equal(read(Path("folder/000011.png").read_bytes()), expected[11])
    with np.load("a.npz") as file:
        np.testing.assert_array_equal(pixels(file["samples"], (-1, 1)), expected)
        np.testing.assert_array_equal(file["z"], Generator(model, providers=CPU).latents(12, 3))
        np.testing.assert_array_equal(file["y"], np.arange(12) % 5)


def test_samples_that_cannot_be_written(cli: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("text")
    cli("sample", model, "--out", "file/a.npy").refused("cannot write file/a.npy: ")
    cli("sample", model, "--out", "file/folder").refused("cannot write file/folder: ")
    cli("sample", model, "--out", "a.jpg").refused("--out is a .png, an .npz or a folder, not a.jpg", ".parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    cli("sample", model, "--out", "a.parquet").refused("Parquet files need pyarrow")


@pytest.mark.parametrize("out", ["a.png", "a.npz", "a.npy", "folder"])
def test_more_samples_than_there_can_be(cli: Command, model: Path, out: str) -> None:
    cli("sample", model, "-n", 10**20, "--out", out).refused("-n is at most")
    assert not Path(out).exists()


@pytest.mark.parametrize("out", ["a.png", "a.npz"])
def test_more_samples_than_memory_holds(cli: Command, model: Path, out: str) -> None:
    cli("sample", model, "-n", 10**14, "--out", out).refused("-n 100,000,000,000,000", "GB", "a folder", ".npy")


def test_more_samples_than_there_can_be_in_python(model: Path, trained: dict[str, Path]) -> None:
    for sampler in (ganzoo.load(model), ganzoo.load(trained["digits"])):
        for draw in (sampler.sample, sampler.stream, sampler.latents):
            with pytest.raises(ValueError, match="number of samples, is at most"):
                draw(10**20)
        with pytest.raises(ValueError, match=r"GB of memory; stream\(\)"):
            sampler.sample(10**14)


def test_a_run_folder_streams_too(cli: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    run = trained["digits"]
    assert cli("sample", run, "-n", "100", "--out", tmp_path / "a.npy").code == 0
    assert cli("sample", run, "-n", "100", "--out", tmp_path / "a.npz").code == 0
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), file["samples"])
        assert file["z"].shape == (100, 4)


def test_many_samples_take_no_more_memory_than_few(model: Path) -> None:
    """The command in a process of its own, its memory measured by the system."""
    signature = Signature((Latent((8,)),), Image(1, 64, 64))
    model.write_bytes(build(signature))
    script = """
import resource, sys
from ganzoo.cli import main
main(["sample", "model.onnx", "-n", sys.argv[1], "--out", "a.npy"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""

    def peak(n: int) -> int:
        command = [sys.executable, "-c", script, str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stderr.split()[-1])

    small, large = peak(500), peak(10_000)
    assert Path("a.npy").stat().st_size > 160e6
    assert large - small < 40, (small, large)  # MB, of 160
