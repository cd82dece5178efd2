"""Samples into a place where samples are: all are new ones afterwards, or nothing is touched."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import Command
from handmade import write_model

from ganzoo import Image, Latent, Signature
from ganzoo_runtime import Generator, sinks, write_folder, write_tar


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx", Signature((Latent((3,)),), Image(1, 4, 4)))


@pytest.fixture
def generator(model: Path) -> Generator:
    return Generator(model, providers=["cpu"], threads=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


COMMANDS = {
    "sample": lambda n: ["sample", "model.onnx", "-n", n],
    "interpolate": lambda n: ["interpolate", "model.onnx", "--keys", "0,1", "--steps", n - 1],
    "directions": lambda n: ["directions", "samples", "model.onnx", "-n", n],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_fewer_over_more_are_refused(cli: Command, model: Path, name: str) -> None:
    done = cli(*COMMANDS[name](9), "--seed", 1, "--out", "drawn")
    assert done.code == 0, done.err
    Path("drawn", "labels.csv").unlink(missing_ok=True)
    Path("drawn", "notes.txt").write_text("mine")
    before = contents(Path("drawn"))
    cli(*COMMANDS[name](5), "--seed", 2, "--out", "drawn").refused(
        "drawn already holds 4 numbered files", "the 5 images", "000005.png to 000008.png", "delete them"
    )
    assert contents(Path("drawn")) == before

    for number in range(5, 9):
        Path("drawn", f"{number:06d}.png").unlink()
    assert cli(*COMMANDS[name](5), "--seed", 2, "--out", "drawn").code == 0
    again = contents(Path("drawn"))
    again.pop("labels.csv", None)
    assert sorted(again) == [*(f"{number:06d}.png" for number in range(5)), "notes.txt"]
    assert all(again[f"{number:06d}.png"] != before[f"{number:06d}.png"] for number in range(5)), "another seed"
    assert again["notes.txt"] == b"mine"


def test_edits_too(cli: Command, model: Path) -> None:
    assert cli("sample", model, "-n", 3, "--out", "drawn").code == 0
    cli("edit", model, "--arithmetic", "0 + 1", "--out", "drawn").refused("2 numbered files", "the 1 image")


def test_as_many_or_more_replace_them(cli: Command, model: Path, generator: Generator) -> None:
    for n, seed in ((4, 1), (4, 2), (6, 3)):
        assert cli("sample", model, "-n", n, "--seed", seed, "--out", "drawn").code == 0
        files = sorted(Path("drawn").iterdir())
        assert [file.name for file in files] == [f"{number:06d}.png" for number in range(n)]
        shown = np.stack([np.asarray(PIL.Image.open(file)) for file in files])
        expected = (generator.sample(n, seed=seed)[:, 0] + 1) * 127.5
        assert np.abs(shown - expected).max() <= 0.51


def test_numbers_of_more_than_six_digits(tmp_path: Path, generator: Generator) -> None:
    (tmp_path / "drawn").mkdir()
    for name in ("1000000.png", "12.png", "0000001.jpg", "000001-old.png"):
        (tmp_path / "drawn" / name).touch()
    with pytest.raises(ValueError, match=r"1 numbered file beside the 2 images to be written \(1000000.png\)"):
        write_folder(tmp_path / "drawn", generator.stream(2), 2, generator.signature)
    (tmp_path / "drawn" / "1000000.png").unlink()
    write_folder(tmp_path / "drawn", generator.stream(2), 2, generator.signature)


def broken(generator: Generator, n: int) -> Iterator[Any]:
    """A stream that is interrupted."""
    yield from generator.stream(n, seed=2, batch=n)
    raise KeyboardInterrupt


@pytest.mark.parametrize("write", [write_folder, write_tar])
def test_an_interrupted_call_mixes_nothing(
    write: Any, generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "SHARD", 4)
    place = tmp_path / "drawn" / ("a.tar" if write is write_tar else "a")
    place.parent.mkdir()
    write(place, generator.stream(9, seed=1), 9, generator.signature)
    before = contents(place.parent)
    assert before
    with pytest.raises(KeyboardInterrupt):
        write(place, broken(generator, 5), 9, generator.signature)
    assert contents(place.parent) == before


def members(path: Path) -> int:
    with tarfile.open(path) as tar:
        return len(tar.getnames())


def test_shards_of_a_larger_call(cli: Command, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sinks, "SHARD", 4)
    assert cli("sample", model, "-n", 14, "--out", "d/many.tar").out == "d/many-{000000..000003}.tar\n"
    Path("d", "many-more.tar").touch()  # somebody's own
    Path("d", "others-000009.tar").touch()
    before = contents(Path("d"))
    cli("sample", model, "-n", 7, "--seed", 2, "--out", "d/many.tar").refused(
        "d already holds 2 numbered files", "the shards of 7 images", "many-000002.tar to many-000003.tar"
    )
    cli("sample", model, "-n", 3, "--out", "d/many.tar").refused("4 numbered files beside many.tar")
    assert contents(Path("d")) == before
    assert cli("sample", model, "-n", 13, "--seed", 2, "--out", "d/many.tar").code == 0
    assert [members(Path("d", f"many-{shard:06d}.tar")) for shard in range(4)] == [4, 4, 4, 1]
    assert contents(Path("d"))["many-000000.tar"] != before["many-000000.tar"]


def test_shards_beside_the_one_file_of_a_smaller_call(
    cli: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "SHARD", 4)
    assert cli("sample", model, "-n", 3, "--out", "many.tar").code == 0
    assert cli("sample", model, "-n", 4, "--seed", 2, "--out", "many.tar").code == 0
    cli("sample", model, "-n", 5, "--out", "many.tar").refused("1 numbered file beside the shards", "(many.tar)")
