"""The distribution torch-ganzoo-runtime: the runtime alone, from the same files, where there is nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from built import CPU, IMAGE, build
from conftest import ROOT

import ganzoo
import ganzoo_runtime as runtime
from ganzoo_runtime import Generator

SOURCE = Path(runtime.__file__).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build_it = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build_it, cwd=ROOT / "exporters", check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_it_holds_the_runtime_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"torch_ganzoo_runtime-{ganzoo.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 100_000
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    assert files.pop("ganzoo_runtime/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert files == {f"ganzoo_runtime/{path.name}": path.read_bytes() for path in SOURCE.glob("*.*")}
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert required == ["Requires-Dist: numpy>=2.0"]


def test_it_draws_where_there_is_no_torch_and_no_ganzoo(wheel: Path, tmp_path: Path) -> None:
    """Every other installed package fails to be imported, as where it is not installed."""
    (tmp_path / "model.onnx").write_bytes(build(IMAGE))
    script = f"""
import sys
from importlib.metadata import packages_distributions
sys.modules.update(dict.fromkeys(set(packages_distributions()) - {{"numpy", "onnxruntime"}}))
sys.path.insert(0, {str(wheel)!r})
from pathlib import Path
from ganzoo_runtime import Generator, interpolate, pixels, write_tar
generator = Generator("model.onnx", providers=["cpu"], threads=1)
samples = generator.sample(5, seed=1, label=2)
pixels(samples, generator.signature["output"]["range"])
generator.sample(4, latents=interpolate(generator.latents(2), 3))
write_tar(Path("a.tar"), generator.stream(9), 9, generator.signature)
sys.stdout.buffer.write(samples.tobytes())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    found = np.frombuffer(done.stdout, np.float32).reshape(5, 1, 4, 4)
    expected = Generator(build(IMAGE), providers=CPU, threads=1).sample(5, seed=1, label=2)
    np.testing.assert_array_equal(found, expected)


def test_without_onnxruntime_a_generator_says_what_to_install(wheel: Path) -> None:
    script = f"""
import importlib.util, sys
sys.path.insert(0, {str(wheel)!r})
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "onnxruntime" else find(name)
import ganzoo_runtime
ganzoo_runtime.pixels
try:
    ganzoo_runtime.Generator
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("the runtime needs onnxruntime: pip install onnxruntime")


def test_onnxruntime_sends_no_telemetry(tmp_path: Path) -> None:
    """It writes an identifier and a queue of events into the home folder where it does."""
    (tmp_path / "model.onnx").write_bytes(build(IMAGE))
    # It is silent in tests and on build machines by itself.
    silent = ("ORT_", "CI", "TF_BUILD", "GITHUB_", "XDG_")
    around = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
    script = "from ganzoo_runtime import Generator; Generator('model.onnx', providers=['cpu']).sample(1)"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=around | {"HOME": str(tmp_path)}, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
