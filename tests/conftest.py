"""The command line called from inside, and tiny trained runs to try it on."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import Request

import pytest

if TYPE_CHECKING:
    from sites import Site
    from warm import Warm

# The tests run side by side; a thread each is fastest, and torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell turns Ctrl-C off for what it runs in the background; tests send it, to this process and to its children.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from this process and all that it starts, unless tests for one are asked for by ``-m gpu``.

    The tests are about what the code decides, and most are held to figures of the CPU; on a machine with a GPU
    ``device = auto`` would mean another device. Before torch is imported: it counts GPUs once.
    """
    if not re.search(r"(?<!not )\bgpu\b", config.getoption("markexpr")):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for name in ("DISABLE_PLUGINS", "STRICT_PLUGINS", "PROVIDERS"):  # what whoever runs the tests has set
        os.environ.pop(f"GANZOO_{name}", None)


def pytest_runtest_setup() -> None:
    """Let torch collect the operators of ONNX and its own once in a process: of a small export that is over half."""
    exporter = sys.modules.get("torch.onnx._internal.exporter._registration")
    if exporter is not None and not hasattr(exporter.ONNXRegistry.from_torchlib, "cache_info"):
        exporter.ONNXRegistry.from_torchlib = staticmethod(functools.cache(exporter.ONNXRegistry.from_torchlib))
    utils = sys.modules.get("torch._export.utils")
    if utils is not None and not hasattr(utils._materialize_cpp_cia_ops, "cache_info"):
        utils._materialize_cpp_cia_ops = functools.cache(utils._materialize_cpp_cia_ops)


TINY = {
    "digits": ("-p", "wgan_gp_conv", "--data", "digits", "--set", "model.width=2", "--set", "model.latent_dim=4"),
    "gaussians": ("-p", "gan_fc", "--data", "gaussians", "--set", "model.hidden=[8]", "--set", "data.size=500"),
}
"""Arguments of ``ganzoo train`` for models that train in no time."""

ROOT = Path(__file__).parents[1]
"""The checkout."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self, *words: str) -> str:
        """Assert that the caller was told what is wrong in one sentence with these words in it; return it."""
        assert (self.code, self.out) == (2, ""), self
        return self.sentence(*words)

    def sentence(self, *words: str) -> str:
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("ganzoo: "), self.err
        for word in words:
            assert word in lines[0], self.err
        return lines[0]


Command = Callable[..., Outcome]


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Call the command line in this process, in a folder of its own."""
    from ganzoo.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = int(exit.code or 0)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="session", autouse=True)
def _on_any_processor() -> Iterator[None]:
    """Let ``precision=auto`` mean float32, whatever the processor multiplies, but in processes of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ganzoo.gan.precision.multiplies_bfloat16", lambda: False)
        yield


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Commands in processes of their own, which start at once."""
    from warm import warm_process

    with warm_process() as server:
        yield server


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder like site-packages, from which can be imported."""
    from sites import Site, importable

    with importable(tmp_path):
        yield Site(tmp_path)


@pytest.fixture(scope="session")
def samples_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of the sample plugins, ``examples/plugins``, is installed."""
    from sites import install_samples

    return install_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of four steps, by data set; copy one before changing it."""
    from ganzoo.cli import main

    folder, runs = tmp_path_factory.mktemp("trained"), {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for data, arguments in TINY.items():
            main(["train", *arguments, "--steps", "4", "-q", "--out", data, "--set", "log_every=2"])
            (runs[data],) = folder.glob(f"{data}/*")
        main(["export", str(runs["digits"]), "--onnx"])
    finally:
        os.chdir(before)
    return runs


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("own") / "cache"
    monkeypatch.setenv("GANZOO_CACHE", str(folder))
    return folder


@pytest.fixture
def elsewhere(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder of the test's own, and a cache folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def digits(trained: dict[str, Path], tmp_path: Path) -> Path:
    """A run that may be written to."""
    return Path(shutil.copytree(trained["digits"], tmp_path / "runs" / trained["digits"].name))


@pytest.fixture(scope="module")
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the user's classifiers nor InceptionV3's weights decide what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("hub")))
        yield


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network, and no data of the user's; the list is of what was asked for."""
    asked: list[str] = []

    def unreachable(request: Request, *_: object, **__: object) -> None:
        asked.append(request.full_url)
        raise URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.delenv("GANZOO_DATA", raising=False)
    return asked


@pytest.fixture
def undrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test, and draw nothing, which would take most of the time."""
    monkeypatch.chdir(tmp_path)

    def touch(path: Path, *_: object, **__: object) -> None:
        path.parent.mkdir(exist_ok=True)
        path.touch()

    for name in ("images.grids.save_grid", "images.plots.save_curves", "images.animation.save_progress"):
        monkeypatch.setattr(f"ganzoo.{name}", touch)
    monkeypatch.setattr("ganzoo.training.sample_logger.save_reals", touch)
