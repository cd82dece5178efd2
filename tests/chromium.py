"""A headless Chromium and a static host, for the tests of the web page."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ganzoo_runtime import Generator, pixels

MODULES = Path(__file__).parent / "browser" / "node_modules"
CHROME = os.environ.get("CHROME") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

needs_browser = pytest.mark.skipif(
    not (CHROME and (MODULES / "puppeteer-core").is_dir() and shutil.which("node")),
    reason="needs Chromium (on the PATH or in $CHROME), node, and: npm install --prefix tests/browser",
)


class Browser:
    """A headless Chromium, driven through tests/browser/bridge.mjs."""

    def __init__(self, *flags: str) -> None:
        bridge = Path(__file__).parent / "browser" / "bridge.mjs"
        self.process = subprocess.Popen(
            ["node", str(bridge), str(CHROME), *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, command: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def evaluate(self, script: str) -> Any:
        return self("evaluate", script=script)

    def open(self, url: str) -> None:
        """Open the page anew, and wait until it has drawn."""
        self("goto", url="about:blank")
        self("goto", url=url)
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self("wait", script="document.querySelectorAll('[aria-busy=false]').length === 2")

    def set(self, **values: object) -> None:
        """Give controls values by their names, as a visitor does."""
        for name, value in values.items():
            self.evaluate(
                f"(() => {{ const control = controls.elements.namedItem({name!r}); control.value = {str(value)!r};"
                "for (const it of ['input', 'change']) control.dispatchEvent(new Event(it, { bubbles: true })); })()"
            )
        self.settle()

    def text(self, name: str) -> str:
        return str(self.evaluate(f"document.getElementById({name!r}).textContent"))

    def canvases(self, selector: str) -> np.ndarray:
        """What is on canvases of one size, uint8 [N, H, W, 4]."""
        drawn = self.evaluate(
            f"[...document.querySelectorAll({selector!r})].map((canvas) => [canvas.height, canvas.width,"
            " ...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data])"
        )
        return np.array([np.reshape(values, (height, width, 4)) for height, width, *values in drawn], np.uint8)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Site(http.server.ThreadingHTTPServer):
    """A static host of a folder that remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = asked = list[str]()

        class Handler(http.server.SimpleHTTPRequestHandler):
            extensions_map: ClassVar = {  # few, as on a host that knows neither .mjs nor .wasm nor .onnx
                ".html": "text/html",
                ".js": "text/javascript",
                ".css": "text/css",
                ".svg": "image/svg+xml",
            }

            def log_message(self, *arguments: object) -> None:
                asked.append(self.path)

        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def model_of(site: Site) -> Generator:
    return Generator(site.folder / "generator.onnx", providers=["CPUExecutionProvider"])


def same_images(drawn: np.ndarray, samples: np.ndarray, generator: Generator, most: int = 1) -> None:
    """Assert that images differ from the Python runtime's by rounding alone."""
    expected = pixels(samples, generator.signature["output"]["range"]).astype(int)
    assert drawn.shape == (*expected.shape[:3], 4)
    assert (drawn[..., 3] == 255).all()
    difference = np.abs(drawn[..., :3] - expected)  # a grayscale image has one channel here and three there
    assert difference.max() <= most
    assert (difference > 0).mean() < 0.001
