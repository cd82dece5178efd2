"""The web page's random numbers against NumPy, and its folder."""

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import ROOT, Command
from handmade import write_model

from ganzoo import Image, Label, Latent, Points, Signature, Tokens, UserError
from ganzoo_exporters import web
from ganzoo_exporters.web import write_page
from ganzoo_runtime import Generator, lines, truncated_normal

WEB = Path(web.__file__).parent
ZOO = ROOT / "zoo" / "ganzoo_zoo"
EDGE = 3.6541528853610088  # where the ziggurat's tail begins

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def node(script: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    """Run JavaScript that imports the page's modules from ``WEB``."""
    script = script.replace("WEB", WEB.as_uri())
    command = ["node", "--input-type=module", "-e", script, "--", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


# ---- the numbers

DRAW = """
import { Philox } from "WEB/philox.js";
const [seed, jumps, n, kind] = process.argv.slice(1);
const random = new Philox(seed, jumps);
const draw = { normal: () => random.normal(), uniform: () => random.uniform() * 2 - 1 }[kind];
process.stdout.write(new Uint8Array(Float32Array.from({ length: Number(n) }, draw).buffer));
"""


@needs_node
@pytest.mark.parametrize("seed", [0, 1, 7, 2**32 - 1, 2**32, 2**64 + 5, 2**200 + 9])
@pytest.mark.parametrize("jumps", [0, 2])
def test_normal_numbers_are_those_of_numpy(seed: int, jumps: int) -> None:
    stream = np.random.Philox(seed)
    expected = np.random.Generator(stream.jumped(jumps) if jumps else stream).standard_normal(40_000, dtype=np.float32)
    drawn = np.frombuffer(node(DRAW, seed, jumps, 40_000, "normal").stdout, np.float32)
    tail = np.abs(expected) > EDGE
    assert tail.any()  # the rarest branch was taken; the wedges are taken in one number of seventy
    np.testing.assert_array_equal(drawn[~tail], expected[~tail])
    np.testing.assert_array_max_ulp(drawn[tail], expected[tail], maxulp=2)  # NumPy takes the C library's log1pf there


@needs_node
@pytest.mark.parametrize("seed", [0, 12345678901234567890])
def test_uniform_numbers_are_those_of_numpy(seed: int) -> None:
    expected = np.random.Generator(np.random.Philox(seed)).random(40_000, dtype=np.float32) * np.float32(2) - 1
    np.testing.assert_array_equal(np.frombuffer(node(DRAW, seed, 0, 40_000, "uniform").stdout, np.float32), expected)


@needs_node
def test_a_negative_seed_is_refused() -> None:
    assert b"a seed is a whole number of at least 0" in node(DRAW, -1, 0, 1, "normal").stderr


QUANTILES = """
import { truncatedNormal } from "WEB/generator.js";
const [threshold, ...numbers] = process.argv.slice(1).map(Number);
process.stdout.write(new Uint8Array(Float32Array.from(numbers, truncatedNormal(threshold)).buffer));
"""


@needs_node
@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0, 3.5, 30.0])
def test_numbers_are_truncated_as_in_python(threshold: float) -> None:
    z = np.random.default_rng(0).standard_normal(2_000, dtype=np.float32)
    z = np.concatenate([z, np.float32([-6.2, -3.8, 0, 1e-6, 5.5])])
    drawn = np.frombuffer(node(QUANTILES, threshold, *z.tolist()).stdout, np.float32)
    np.testing.assert_allclose(drawn, truncated_normal(z, threshold), rtol=1.2e-7, atol=1e-15)  # of a float32 one bit


@needs_node
def test_a_threshold_that_is_none_is_refused() -> None:
    for wrong in (0, -1, "x"):
        assert b"the truncation is above 0 for this model, not" in node(QUANTILES, wrong, 1).stderr


READ = """
import { readFileSync } from "node:fs";
import { readMetadata } from "WEB/generator.js";
console.log(JSON.stringify(readMetadata(readFileSync(process.argv[1]))));
"""


LINES = """
import { readFileSync } from "node:fs";
import { Generator } from "WEB/generator.js";
const { output, rows, encoded } = JSON.parse(readFileSync(process.argv[1]));
const metadata = { signature: { inputs: [], output } };
const samples = output.dtype === "int64" ? BigInt64Array.from(rows.flat(), BigInt) : Float32Array.from(encoded.flat(2));
const generator = new Generator(null, null, metadata);
process.stdout.write(JSON.stringify(rows.map((_, i) => generator.line(samples, i))));
"""


@needs_node
@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("texts", [(), ("", " a", " b\n", "\\"), ("x", "", " y", "\U0001f600")])
def test_javascript_writes_the_lines_that_python_writes(tmp_path: Path, texts: tuple[str, ...], encoded: bool) -> None:
    field = Tokens(5, 4, texts, encoded=encoded)
    rows = np.random.default_rng(0).integers(4, size=(20, 5))
    logits = np.eye(4, dtype=np.float32)[rows] - 2
    (tmp_path / "a.json").write_text(
        json.dumps({"output": field.to_json(), "rows": rows.tolist(), "encoded": logits.tolist()})
    )
    expected = lines(logits if encoded else rows, field.to_json())
    assert json.loads(node(LINES, tmp_path / "a.json").stdout) == expected


@needs_node
def test_javascript_reads_the_metadata_of_a_file(tmp_path: Path) -> None:
    path = ZOO / "cgan-mnist5k" / "generator.onnx"
    assert json.loads(node(READ, path).stdout) == Generator(path).metadata
    data = path.read_bytes()
    for name, wrong, message in (
        ("cut", data[:-100], b"the model is not an ONNX file, or it is cut short"),
        ("text", b"\xff" * 500, b"the model is not an ONNX file, or it is cut short"),
        ("empty", b"", b"the model was not exported by ganzoo"),
        ("foreign", data.replace(b"\x0a\x06ganzoo", b"\x0a\x06others"), b"the model was not exported by ganzoo"),
    ):
        (tmp_path / name).write_bytes(wrong)
        assert message in node(READ, tmp_path / name).stderr, name


# ---- the folder

IMAGE = Signature((Latent((6,)), Label(3)), Image(3, 4, 5))


@pytest.fixture
def ort(tmp_path: Path) -> Path:
    """Files named like those of onnxruntime-web."""
    dist = tmp_path / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    for name in web._ORT_FILES:
        (dist / name).write_text(name)
    return dist.parent


def test_the_folder_is_whole(tmp_path: Path, ort: Path) -> None:
    model, folder = write_model(tmp_path / "m.onnx", IMAGE), tmp_path / "site" / "digits"
    for source in (ort, ort / "dist", ort.parent):  # and a second time over the first
        write_page(model, folder, ort=source)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    binaries = {f"ort/{name.replace('.mjs', '.js')}" for name in web._ORT_FILES}
    assert files == {*web._PAGE_FILES, "generator.onnx", "ort/LICENSE.txt", *binaries}
    assert not [name for name in files if name.endswith(".mjs")]
    assert (folder / "generator.onnx").read_bytes() == model.read_bytes()
    assert (folder / "ort" / "ort-wasm-simd-threaded.wasm").read_text() == "ort-wasm-simd-threaded.wasm"
    for name in web._PAGE_FILES:
        addresses = re.findall(r"https?://\S+", (folder / name).read_text(encoding="utf-8"))
        assert {urlsplit(address).hostname for address in addresses} <= {"localhost", "www.w3.org"}, name


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (Signature((Latent((2,)),), Points(2)), "the output of m.onnx is of the kind 'points'"),
        (Signature((Image(1, 2, 2),), Image(1, 2, 2)), "m.onnx takes inputs of the kind 'image'"),
    ],
)
def test_models_that_are_none_for_a_page(tmp_path: Path, ort: Path, signature: Signature, message: str) -> None:
    with pytest.raises(UserError, match=message):
        write_page(write_model(tmp_path / "m.onnx", signature), tmp_path / "site", ort=ort)
    assert not (tmp_path / "site").exists()


def test_a_model_too_large_for_a_page(tmp_path: Path, ort: Path) -> None:
    model = write_model(tmp_path / "m.onnx", IMAGE, weights_in="m.data")
    with pytest.raises(UserError, match=r"m\.onnx keeps its weights in another file, since it is too large"):
        write_page(model, tmp_path / "site", ort=ort)
    assert not (tmp_path / "site").exists()


def test_what_is_no_model_is_refused(tmp_path: Path, ort: Path) -> None:
    (tmp_path / "m.onnx").write_text("no model")
    with pytest.raises(UserError, match="not an ONNX file"):
        write_page(tmp_path / "m.onnx", tmp_path / "site", ort=ort)


def test_the_page_of_somebody_else_is_kept(tmp_path: Path, ort: Path) -> None:
    (tmp_path / "index.html").write_text("<p>My home page")
    with pytest.raises(UserError, match=r"index\.html is not a page of ganzoo's: choose another folder"):
        write_page(write_model(tmp_path / "m.onnx", IMAGE), tmp_path, ort=ort)
    assert (tmp_path / "index.html").read_text() == "<p>My home page"


def test_an_onnxruntime_that_is_none(tmp_path: Path, ort: Path) -> None:
    model = write_model(tmp_path / "m.onnx", IMAGE)
    (ort / "dist" / "ort.jspi.min.mjs").unlink()
    with pytest.raises(UserError, match=r"not an unpacked onnxruntime-web: ort\.jspi\.min\.mjs is missing"):
        write_page(model, tmp_path / "site", ort=ort)
    with pytest.raises(UserError, match="is not the package onnxruntime-web"):
        write_page(model, tmp_path / "site", ort=model)
    with pytest.raises(UserError, match=r"cannot read .*: No such file"):
        write_page(model, tmp_path / "site", ort=tmp_path / "nowhere.tgz")
    assert not (tmp_path / "site").exists()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "there is no npm to fetch it with: install Node.js, or get the package .* with --ort"),
        ("exit 1", "npm cannot fetch onnxruntime-web@.*: check the network, or get the package"),
        ("echo forged > $5/onnxruntime-web-VERSION.tgz", "with another SHA-512 than the published one"),
    ],
)
def test_fetching_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, message: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    if script:
        (tools / "npm").write_text(f"#!/bin/sh\n{script.replace('VERSION', web.ORT)}\n")
        (tools / "npm").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=message):
        write_page(write_model(tmp_path / "m.onnx", IMAGE), tmp_path / "site")
    assert not (tmp_path / "site").exists()
    assert not (tmp_path / "cache").exists()


def test_the_command_writes_a_page(cli: Command, trained: dict[str, Path], ort: Path, tmp_path: Path) -> None:
    outcome = cli("export", trained["digits"], "--onnx", "--out", "m.onnx", "--web", "site", "--ort", ort)
    assert outcome.code == 0, outcome.err
    assert outcome.out == "m.onnx\n"
    assert "python -m http.server --directory site" in outcome.err
    assert (tmp_path / "site" / "generator.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_models_of_the_zoo_and_files_become_pages_as_they_are(cli: Command, ort: Path, tmp_path: Path) -> None:
    for name in ("zoo:cgan-mnist5k", ROOT / "zoo/ganzoo_zoo/cgan-mnist5k/generator.onnx"):
        outcome = cli("export", name, "--web", "site", "--ort", ort, "--triton", "models")
        assert outcome.code == 0, outcome.err
        assert Generator(tmp_path / "site" / "generator.onnx").sample(2, seed=3).shape == (2, 1, 28, 28)
        assert list((tmp_path / "models").glob("*/1/model.onnx"))
        shutil.rmtree(tmp_path / "site")
    (tmp_path / "directions.json").write_text('{"a": {"latent": "z", "vector": [1], "range": [0, 1]}}')
    for wrong, words in (
        (("--onnx",), "is exported already: make a page of it with --web DIR, or give --triton DIR"),
        (("--directions", "directions.json"), "or --out FILE with --directions"),
        (("--directions", "directions.json", "--out", "x.pt2"), "--out is an .onnx, as generator.onnx is, not x.pt2"),
        (("--web", "site", "--precision", "fp16"), "--web and --triton take it as it is, without --precision"),
        (("--web", "site", "--out", "x.onnx"), "--web and --triton take it as it is, without --out"),
    ):
        cli("export", "zoo:cgan-mnist5k", *wrong).refused(words)
    cli("export", "zoo:nothing", "--web", "site").refused("nothing")


def test_directions_go_into_pages_and_copies_of_files(cli: Command, ort: Path, tmp_path: Path) -> None:
    model = ROOT / "zoo/ganzoo_zoo/stylegan2-shapes/generator.onnx"
    known = {"up": {"latent": "w", "vector": [0.5] * 128, "range": [-2, 2], "layers": [0, 3]}}
    (tmp_path / "d.json").write_text(json.dumps(known))
    outcome = cli("export", "zoo:stylegan2-shapes", "--directions", "d.json", "--out", "copy.onnx")
    assert (outcome.code, outcome.out) == (0, "copy.onnx\n"), outcome.err
    before, copy = Generator(model), Generator(tmp_path / "copy.onnx")
    assert copy.metadata == before.metadata | {"directions": known}
    (tmp_path / "both.json").write_text(json.dumps({"directions": known, "latent_mean": {"z": [0.5] * 128}}))
    assert cli("export", "zoo:stylegan2-shapes", "--directions", "both.json", "--out", "both.onnx").code == 0
    means = Generator(tmp_path / "both.onnx").metadata["latent_mean"]
    assert means == {"w": before.metadata["latent_mean"]["w"], "z": [0.5] * 128}  # truncation in W needs its own
    np.testing.assert_array_equal(copy.sample(2, seed=5), before.sample(2, seed=5))
    assert cli("export", model, "--directions", "d.json", "--web", "site", "--ort", ort).code == 0
    assert Generator(tmp_path / "site" / "generator.onnx").directions == known
    for document, words in (
        ({"up": {**known["up"], "vector": [1.0]}}, "is of another model: 'w' has 128"),
        ({"up": {**known["up"], "layers": [0, 8]}}, "are no range of the 8 that there are"),
        ({"up": {**known["up"], "vector": [float("nan")] * 128}}, "d.json: it has a number that is not finite"),
    ):
        (tmp_path / "d.json").write_text(json.dumps(document))
        cli("export", model, "--directions", "d.json", "--out", "copy.onnx").refused(words)
        assert Generator(tmp_path / "copy.onnx").directions == known


def test_the_command_refuses_in_a_sentence(cli: Command, trained: dict[str, Path], ort: Path) -> None:
    cli("export", trained["digits"], "--onnx", "--ort", ort).refused("--ort is for the page: give --web DIR too")
    outcome = cli("export", trained["gaussians"], "--onnx", "--out", "m.onnx", "--web", "site", "--ort", ort)
    assert outcome.code == 2
    assert "the page shows images" in outcome.err
