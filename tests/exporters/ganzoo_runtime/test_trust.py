"""What somebody made to do harm ends in one sentence: no crash, no hang, no gigabytes. What ganzoo wrote is opened."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import onnx
import pytest
from conftest import Command
from onnx import helper

from ganzoo_runtime import Generator, ModelError
from ganzoo_runtime.metadata import check_document

CPU = ["CPUExecutionProvider"]
SECONDS, MEGABYTES = 10, 1024


def good(width: int = 4) -> onnx.ModelProto:
    return hostile.model([hostile.node("MatMul", "z w")], w=hostile.floats(4, width))


def attempt(folder: Path) -> dict[str, str]:
    """Let another process open every file of the folder; return what it said of each, if it lived to say it."""
    done = subprocess.run(
        [sys.executable, hostile.__file__, str(folder)], capture_output=True, text=True, timeout=280, check=False
    )
    lines = [line.partition("\t")[::2] for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.returncode, lines[-1:], done.stderr)
    assert done.stderr == ""
    said = {name: json.loads(text) for name, text in lines}
    assert said.keys() == {path.name for path in folder.iterdir()}
    for name, (sentence, seconds, megabytes) in said.items():
        assert seconds < SECONDS, name
        assert megabytes < MEGABYTES, name
        assert "\n" not in sentence, name
        assert len(sentence) < 500, name
    return {name: sentence for name, (sentence, _, _) in said.items()}


def test_models_made_to_do_harm(tmp_path: Path) -> None:
    expected = {}
    for name, model, words in hostile.hostile():
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
        expected[f"{name}.onnx"] = words
    (tmp_path / "good.onnx").write_bytes(good().SerializeToString())
    said = attempt(tmp_path)
    assert said.pop("good.onnx") == "drawn"
    for name, words in expected.items():
        assert said[name].startswith(f"{name} "), said[name]
        assert words in said[name], name


def test_metadata_made_to_do_harm() -> None:
    model = good()
    for name, text, words in hostile.documents():
        helper.set_model_props(model, {"ganzoo": text})
        with pytest.raises(ModelError) as caught:
            Generator(model.SerializeToString(), providers=CPU)
        assert words in str(caught.value), name
        assert len(str(caught.value)) < 300, name
        assert str(caught.value).isprintable(), name


def sources() -> list[bytes]:
    zoo = [entry / "generator.onnx" for entry in files("ganzoo_zoo").iterdir() if entry.is_dir()]
    return [path.read_bytes() for path in zoo if path.is_file()] + [good().SerializeToString()]


def changed(folder: Path, how: Callable[[bytes, int], bytes], seeds: range) -> dict[str, str]:
    originals = sources()
    for seed in seeds:
        (folder / f"{seed:06d}").write_bytes(how(originals[seed % len(originals)], seed))
    return attempt(folder)


@pytest.mark.parametrize("how", [hostile.mutated, hostile.twisted])
def test_changed_files(how: Callable[[bytes, int], bytes], tmp_path: Path) -> None:
    said = changed(tmp_path, how, range(66))
    assert sum(sentence != "drawn" for sentence in said.values()) > 20  # the changes do change something


@pytest.mark.slow
@pytest.mark.parametrize("how", [hostile.mutated, hostile.twisted])
@pytest.mark.parametrize("start", range(0, 10_000, 1_000))
def test_many_changed_files(how: Callable[[bytes, int], bytes], start: int, tmp_path: Path) -> None:
    changed(tmp_path, how, range(1_000_000 + start, 1_001_000 + start))


def test_too_many_parts(tmp_path: Path) -> None:
    (tmp_path / "fields").write_bytes(b"\x08\x01" * 5_000_000)
    (tmp_path / "names").write_bytes(good().SerializeToString() + b"\x32\x00" * 5_000_000)
    assert {*attempt(tmp_path).values()} == {
        f"{name} has more parts than any network needs" for name in ("fields", "names")
    }


def test_it_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")  # reading it would wait for ever
    with pytest.raises(ModelError, match="it is not a file"):
        Generator(tmp_path / "pipe.onnx")


def test_the_command_says_one_sentence(cli: Command, tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    for name, model, words in hostile.hostile():
        if name in ("constant", "function", "random"):
            bad.write_bytes(model.SerializeToString())
            cli("sample", bad, "--out", "a.npz").refused("bad.onnx", words)
    model = good()
    helper.set_model_props(model, {"ganzoo": json.dumps({"schema": 1, "signature": hostile.SIGNATURE, "x": "\x1b[2J"})})
    bad.write_bytes(model.SerializeToString())
    assert "\x1b" not in cli("sample", bad, "--out", "a.npz").refused("cannot be kept")


@pytest.mark.parametrize("source", sources(), ids=range(len(sources())))
def test_what_ganzoo_wrote_is_opened(source: bytes) -> None:
    generator = Generator(source, providers=CPU)
    fields = generator.signature["inputs"]
    shown = [np.zeros((1, *field["shape"]), field["dtype"]) for field in fields]
    from_noise = not {field["kind"] for field in fields} & {"image", "mask"}
    assert len(generator.sample(1) if from_noise else generator(*shown)) == 1


# --- Weights beside the file


@pytest.fixture
def beside(tmp_path: Path) -> tuple[Path, onnx.ModelProto]:
    """A folder with a model whose weights, two of them, lie in another file, and a secret next to the folder."""
    model = hostile.model(
        [hostile.node("MatMul", "z w", "a"), hostile.node("MatMul", "a v")],
        w=np.eye(4, dtype=np.float32) * 2,
        v=np.eye(4, dtype=np.float32) * 3,
    )
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(1000))
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    return folder, onnx.load(folder / "m.onnx", load_external_data=False)


def set_entry(model: onnx.ModelProto, key: str, value: str) -> None:
    entries = model.graph.initializer[1].external_data
    for entry in entries:
        if entry.key == key:
            entry.value = value
            return
    entries.add(key=key, value=value)


def test_weights_beside_the_file_are_read(beside: tuple[Path, onnx.ModelProto]) -> None:
    generator = Generator(beside[0] / "m.onnx", providers=CPU)
    np.testing.assert_allclose(generator(np.ones((2, 4), np.float32)), np.full((2, 4), 6.0))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("location", "../secret", "'../secret', which is no file of its own folder"),
        ("location", "/etc/passwd", "which is no file of its own folder"),
        ("location", "..", "which is no file of its own folder"),
        ("location", "", "which is no file of its own folder"),
        ("location", "..\\secret", "which is no file of its own folder"),
        ("location", "C:secret", "which is no file of its own folder"),
        ("location", "m.data\0", "which is no file of its own folder"),
        ("location", "sub/m.data", "which is no file of its own folder"),
        ("location", "nothing.data", "which is not beside it"),
        ("location", "x" * 300, "which is not beside it"),
        ("location", "link.data", "which is a link"),
        ("location", "hard.data", "which is a link"),
        ("location", "sub", "which is a link"),
        ("offset", "-1", "which is cut short"),
        ("offset", "1000000", "which is cut short"),
        ("offset", "x", "which is not beside it"),
        ("length", "1", "which is cut short"),
        ("length", "9" * 30, "which is cut short"),
    ],
)
def test_weights_that_lie_elsewhere(beside: tuple[Path, onnx.ModelProto], key: str, value: str, words: str) -> None:
    folder, model = beside
    (folder / "sub").mkdir()
    (folder / "link.data").symlink_to(folder.parent / "secret")
    (folder / "hard.data").hardlink_to(folder.parent / "secret")
    set_entry(model, key, value)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError) as caught:
        Generator(folder / "m.onnx", providers=CPU)
    assert words in str(caught.value)


def test_weights_that_are_cut_short(beside: tuple[Path, onnx.ModelProto]) -> None:
    folder, _ = beside
    (folder / "m.data").write_bytes((folder / "m.data").read_bytes()[:-1])
    with pytest.raises(ModelError, match="which is cut short"):
        Generator(folder / "m.onnx", providers=CPU)


def test_weights_elsewhere_are_refused_without_a_folder(
    beside: tuple[Path, onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(beside[0])
    with pytest.raises(ModelError, match="so it has to be opened by its path"):
        Generator(Path("m.onnx").read_bytes(), providers=CPU)


def test_an_operator_of_ours_keeps_no_weights_elsewhere(beside: tuple[Path, onnx.ModelProto]) -> None:
    folder, model = beside
    tensor = onnx.TensorProto(name="c", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="../secret")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="which is no file of its own folder"):
        Generator(folder / "m.onnx", providers=CPU)


# --- What is not refused


def test_a_document_with_all_that_there_may_be() -> None:
    inputs: list[dict[str, Any]] = [
        {"kind": "latent", "name": "z", "dtype": "float32", "shape": [2], "distribution": "uniform"},
        {"kind": "label", "name": "y", "dtype": "int64", "shape": [], "classes": 2, "names": ["a", "ä ✓"]},
        {"kind": "attributes", "name": "a", "dtype": "float32", "shape": [1], "names": [], "examples": [[1], [2.5]]},
        {"kind": "image", "name": "i", "dtype": "float32", "shape": [3, 8, 12], "range": [0, 1], "multiple": 4},
        {"kind": "mask", "name": "m", "dtype": "float32", "shape": [1, 8, 12]},
    ]
    output = {"kind": "image", "name": "x", "dtype": "uint8", "shape": [8, 12, 3], "range": [0, 255], "layout": "NHWC"}
    document = {
        "schema": 1,
        "signature": {"inputs": inputs, "output": {**output, "multiple": 4}},
        "precision": "int8",
        "directions": {"bold": {"latent": "z", "vector": [1, -0.5], "range": [-3, 3], "method": "by hand", "k": None}},
        "latent_mean": {"z": [0.0, 1]},
        "license": "two lines\nand a\ttab",
        "parity": {"max_difference": 1e-7},
    }
    check_document(document)
    check_document(json.loads(json.dumps(document)))


def test_an_output_that_is_not_that_of_the_signature() -> None:
    with pytest.raises(ModelError, match="the output of its graph is not that of its signature"):
        Generator(good(width=5).SerializeToString(), providers=CPU)
