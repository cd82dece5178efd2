"""Every example, run as its README says, against the Python runtime."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from applications import COLORS, DIGITS, EXAMPLES, ROOT, install_runtime, run, same, sheet
from handmade import write_model

from ganzoo_exporters.triton import MAX_BATCH, write_repository
from ganzoo_runtime import Generator


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "colors.onnx", COLORS, model={"key": "tint"})


def test_every_example_has_a_readme_that_names_its_files() -> None:
    for folder in filter(Path.is_dir, EXAMPLES.iterdir()):
        text = (folder / "README.md").read_text(encoding="utf-8")
        for file in folder.glob("*.*"):
            known = file.name in ("README.md", "package.json", "package-lock.json", "CMakeLists.txt")
            assert known or file.stem in text, f"{folder.name}/README.md does not speak of {file.name}"


# ---- Python without torch


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    return install_runtime(tmp_path_factory.mktemp("bare"))


def test_python_without_torch(tmp_path: Path, bare: str, colors: Path) -> None:
    for model, arguments, wishes in (
        (DIGITS, (), {"n": 16}),
        (
            DIGITS,
            ("--n", 5, "--seed", 9, "--label", 7, "--truncation", 0.5),
            {"n": 5, "seed": 9, "label": 7, "truncation": 0.5},
        ),
        (colors, ("--n", 3), {"n": 3}),
    ):
        done = run(
            sys.executable, EXAMPLES / "python" / "sample.py", model, tmp_path / "s.png", *arguments, PYTHONPATH=bare
        )
        assert done.returncode == 0, done.stderr
        same(tmp_path / "s.png", sheet(Generator(model), **wishes))


@pytest.mark.parametrize(
    ("arguments", "message"), [(("--n", 0), "at least 1"), (("--label", 12), "unknown label '12'")]
)
def test_python_refuses_in_a_sentence(tmp_path: Path, bare: str, arguments: tuple[object, ...], message: str) -> None:
    done = run(
        sys.executable, EXAMPLES / "python" / "sample.py", DIGITS, tmp_path / "s.png", *arguments, PYTHONPATH=bare
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s.png").exists()


# ---- Node

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and (EXAMPLES / "node" / "node_modules" / "onnxruntime-node").is_dir()),
    reason="needs node, and: npm install --ignore-scripts --prefix examples/node",
)


@needs_node
def test_node(tmp_path: Path, colors: Path) -> None:
    for model, arguments, wishes in (
        (DIGITS, (), {"n": 16}),
        (DIGITS, (5, 2**63 + 1, 7), {"n": 5, "seed": 2**63 + 1, "label": 7}),
        (colors, (7, 3), {"n": 7, "seed": 3}),
    ):
        done = run("node", EXAMPLES / "node" / "sample.mjs", model, tmp_path / "s.png", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        same(tmp_path / "s.png", sheet(Generator(model), **wishes))


@needs_node
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "usage: node sample.mjs"),
        (("m.onnx", "s.png", "many"), 2, "usage"),
        (("nowhere.onnx", "s.png"), 1, "no such file"),
        ((DIGITS, "s.png", 1, 0, 12), 1, "there is no class 12: there are 0 .. 9"),
    ],
)
def test_node_refuses_in_a_sentence(tmp_path: Path, arguments: tuple[object, ...], code: int, message: str) -> None:
    done = subprocess.run(
        ["node", str(EXAMPLES / "node" / "sample.mjs"), *map(str, arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


# ---- C++


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = os.environ.get("ONNXRUNTIME_ROOT", "")
    headers = (Path(root) / "include", Path("/usr/include/onnxruntime"))
    if not (shutil.which("cmake") and any((folder / "onnxruntime_cxx_api.h").is_file() for folder in headers)):
        pytest.skip("needs cmake, and onnxruntime's release in $ONNXRUNTIME_ROOT")
    build = tmp_path_factory.mktemp("build")
    for command in (("-S", EXAMPLES / "cpp", "-B", build, f"-DONNXRUNTIME_ROOT={root}"), ("--build", build)):
        done = run("cmake", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning:" not in done.stderr
    return build / "sample"


def test_cpp(tmp_path: Path, program: Path, colors: Path) -> None:
    for model, arguments, wishes in (
        (DIGITS, (), {"n": 16}),
        (DIGITS, (5, 2**64 - 1, 7), {"n": 5, "seed": 2**64 - 1, "label": 7}),
        (colors, (7, 3), {"n": 7, "seed": 3}),
    ):
        done = run(program, model, tmp_path / "s.ppm", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        same(tmp_path / "s.ppm", sheet(Generator(model), **wishes))


def test_cpp_draws_the_numbers_of_numpy(tmp_path: Path, program: Path) -> None:
    """A network of the identity shows 40,000 latents, rare branches of the ziggurat among them, as pixels."""
    compiler = shutil.which("c++")
    assert compiler
    source = tmp_path / "numbers.cpp"
    source.write_text(
        '#include <cstdio>\n#include "philox.hpp"\nint main() {\n'
        "  for (std::uint64_t seed : {0ull, 7ull, 1ull << 40}) {\n    Philox random(seed, 1);\n"
        "    for (int i = 0; i < 40000; ++i) {\n      const float x = random.normal();\n"
        "      std::fwrite(&x, sizeof x, 1, stdout);\n    }\n  }\n}\n"
    )
    done = run(compiler, "-std=c++17", "-O2", f"-I{EXAMPLES / 'cpp'}", source, "-o", tmp_path / "numbers")
    assert done.returncode == 0, done.stderr
    drawn = np.frombuffer(subprocess.run([tmp_path / "numbers"], capture_output=True, check=True).stdout, np.float32)
    for seed, numbers in zip((0, 7, 2**40), drawn.reshape(3, -1), strict=True):
        stream = np.random.Generator(np.random.Philox(seed).jumped(1))
        np.testing.assert_array_max_ulp(numbers, stream.standard_normal(40_000, dtype=np.float32), maxulp=2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "usage: sample generator.onnx"),
        ((DIGITS, "s.ppm", 0), 1, "at least 1"),
        ((DIGITS, "s.ppm", 1, -3), 1, "a seed is at least 0"),
        ((DIGITS, "s.ppm", 1, 0, 12), 1, "the model has the classes 0 .. 9"),
        (("nowhere.onnx", "s.ppm"), 1, "nowhere.onnx"),
    ],
)
def test_cpp_refuses_in_a_sentence(
    program: Path, tmp_path: Path, arguments: tuple[object, ...], code: int, message: str
) -> None:
    done = subprocess.run(
        [program, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert message in done.stderr
    assert not (tmp_path / "s.ppm").exists()


# ---- Triton


class KServe(http.server.BaseHTTPRequestHandler):
    """As much of the server's protocol as the client speaks: JSON, with the batch's limit and the reshaped labels."""

    def __init__(self, generator: Generator, *arguments: Any) -> None:
        self.generator = generator
        super().__init__(*arguments)

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        assert self.path == "/v2/models/tint/config"
        parameters = {"ganzoo": {"string_value": json.dumps(self.generator.metadata)}}
        self.answer({"name": "tint", "max_batch_size": MAX_BATCH, "parameters": parameters})

    def do_POST(self) -> None:
        assert self.path == "/v2/models/tint/infer"
        tensors = {}
        for tensor in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]:
            assert 1 <= tensor["shape"][0] <= MAX_BATCH
            assert len(tensor["shape"]) > 1
            dtype = {"FP32": np.float32, "INT64": np.int64}[tensor["datatype"]]
            values = np.array(tensor["data"], dtype).reshape(tensor["shape"])
            tensors[tensor["name"]] = values if dtype == np.float32 else values[:, 0]
        samples = self.generator(*(tensors[name] for name in self.generator.inputs))
        output = {"name": "sample", "datatype": "FP32", "shape": list(samples.shape), "data": samples.ravel().tolist()}
        self.answer({"model_name": "tint", "outputs": [output]})


def test_the_client_of_triton(tmp_path: Path, colors: Path) -> None:
    generator = Generator(write_repository(colors, tmp_path) / "1" / "model.onnx")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(KServe, generator)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = (sys.executable, EXAMPLES / "triton" / "client.py", f"http://127.0.0.1:{server.server_port}", "tint")
        done = run(*client, tmp_path / "s.npz", "--n", MAX_BATCH + 6, "--seed", 5)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        np.load(tmp_path / "s.npz")["samples"], generator.sample(MAX_BATCH + 6, seed=5), atol=1e-5
    )


# ---- the page: tests/exporters/ganzoo_exporters/test_web.py runs it; here, what its README says


def test_the_web_example_names_what_the_page_allows() -> None:
    page = (ROOT / "exporters" / "ganzoo_exporters" / "web" / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'content="(default-src[^"]*)"', page)
    assert policy
    readme = " ".join((EXAMPLES / "web" / "README.md").read_text(encoding="utf-8").split())
    for directive in policy[1].split("; "):
        if directive.split()[0] not in ("default-src", "base-uri", "form-action"):
            assert f"`{directive}`" in readme
