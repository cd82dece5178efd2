"""The example of a web service, as a process of its own."""

import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from applications import COLORS, DIGITS, EXAMPLES, install_runtime, same, sheet
from handmade import write_model

from ganzoo_runtime import Generator, pixels

pytestmark = pytest.mark.skipif(
    not (find_spec("fastapi") and find_spec("uvicorn")),
    reason="needs: pip install -r examples/fastapi/requirements.txt",
)


class Service:
    """The service as a process of its own."""

    def __init__(self, bare: str, model: Path, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        port = self.url.rpartition(":")[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "service:app", "--port", port, "--log-level", "warning"],
            cwd=EXAMPLES / "fastapi",
            env=os.environ | {"PYTHONPATH": bare, "GANZOO_MODEL": str(model), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        for _ in range(600):
            try:
                assert self.json("/health")["status"] == "ok"
                return
            except urllib.error.URLError:
                assert self.process.poll() is None, self.process.communicate()[1]
                time.sleep(0.05)
        raise AssertionError("the service does not start")

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[2])

    def images(self, query: str) -> np.ndarray:
        status, _, content = self.get(f"/samples.npz?{query}")
        assert status == 200, content
        return np.load(io.BytesIO(content))["images"]  # type: ignore[no-any-return]

    def stop(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=30)[1]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    return install_runtime(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "colors.onnx", COLORS)


@pytest.fixture(scope="module")
def service(bare: str) -> Iterator[Service]:
    service = Service(bare, DIGITS, GANZOO_WAIT="0.1")
    service.wait()
    yield service
    assert service.stop() == ""  # neither a traceback nor a warning


def test_the_service_answers_with_pictures(service: Service) -> None:
    generator = Generator(DIGITS)
    status, headers, png = service.get("/samples.png?n=5&seed=3&label=7&truncation=0.5")
    assert (status, headers["content-type"], headers["x-seed"]) == (200, "image/png", "3")
    same(png, sheet(generator, 5, seed=3, label=7, truncation=0.5))
    _, headers, first = service.get("/samples.npz")
    images = service.images(f"seed={headers['x-seed']}")
    np.testing.assert_array_equal(np.load(io.BytesIO(first))["images"], images)
    assert images.shape == (1, 28, 28, 1)
    assert service.json("/model") == generator.metadata


def test_the_service_computes_concurrent_requests_together(service: Service) -> None:
    generator, before = Generator(DIGITS), service.json("/health")
    wishes = [(1 + seed % 7, seed, seed % 10) for seed in range(24)]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda wish: service.images("n={}&seed={}&label={}".format(*wish)), wishes))
    for (n, seed, label), images in zip(wishes, answers, strict=True):
        expected = pixels(generator.sample(n, seed=seed, label=label), generator.signature["output"]["range"])
        assert np.abs(images.astype(int) - expected).max() <= 1, "an answer to somebody else's request"
    after = service.json("/health")
    assert after["requests"] - before["requests"] == 24
    assert after["runs"] - before["runs"] <= 8


@pytest.mark.parametrize(
    "query",
    [
        "n=0",
        "n=65",
        "n=-1",
        "n=x",
        "seed=-1",
        "seed=18446744073709551616",
        "label=-1",
        "truncation=nan",
        "truncation=9",
    ],
)
def test_the_service_has_bounds(service: Service, query: str) -> None:
    status, _, body = service.get(f"/samples.png?{query}")
    assert status == 422
    assert json.loads(body)["detail"]


def test_the_service_knows_the_classes(service: Service) -> None:
    status, _, body = service.get("/samples.npz?label=10")
    assert (status, json.loads(body)["detail"]) == (422, "there is no class 10: the model has the classes 0 .. 9")


def test_a_full_service_says_so(bare: str) -> None:
    service = Service(bare, DIGITS, GANZOO_WAIT="1", GANZOO_QUEUE="2", GANZOO_MOST="4")
    service.wait()
    with ThreadPoolExecutor(32) as pool:  # so many that they meet, however fast it answers
        answers = list(pool.map(lambda seed: service.get(f"/samples.png?n=4&seed={seed}"), range(96)))
    assert {status for status, _, _ in answers} == {200, 503}
    assert all(headers["retry-after"] == "1" for status, headers, _ in answers if status == 503)
    assert service.get("/samples.png?n=5")[0] == 422
    assert service.get("/samples.png?n=4")[0] == 200
    assert service.stop() == ""


def test_the_service_refuses_other_models(bare: str, colors: Path) -> None:
    service = Service(bare, colors)
    assert "this example serves models that make images of latents" in service.process.communicate(timeout=60)[1]
    assert service.process.returncode
