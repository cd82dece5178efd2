"""The web page of a style-based model in a headless Chromium, against the Python runtime."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import MODULES, Browser, Site, model_of, needs_browser, same_images
from conftest import ROOT

from ganzoo_exporters.document import write_copy
from ganzoo_exporters.web import write_page
from ganzoo_runtime import Generator, edit, interpolate

pytestmark = needs_browser

RNG = np.random.default_rng(0)
UNITS = [(vector / np.linalg.norm(vector)).tolist() for vector in RNG.standard_normal((3, 128))]
DIRECTIONS = {
    "everywhere": {"latent": "w", "vector": UNITS[0], "range": [-4, 4]},
    "coarse": {"latent": "w", "vector": UNITS[1], "range": [-5.0, 5.0], "layers": [0, 2]},
    "of z": {"latent": "z", "vector": UNITS[2], "range": [-3, 3]},
    "uneven": {"latent": "w", "vector": UNITS[0], "range": [-2.03, 5.1]},
    "aside": {"latent": "w", "vector": UNITS[0], "range": [0.12, 0.3]},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    browser("look", width=1280, height=900, scheme="light")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Generator]]:
    """The address of the page of zoo:stylegan2-shapes with directions, and the page's model."""
    folder: Path = tmp_path_factory.mktemp("styles")
    model = ROOT / "zoo" / "ganzoo_zoo" / "stylegan2-shapes" / "generator.onnx"
    write_copy(model, folder / "model.onnx", {"directions": DIRECTIONS})
    write_page(folder / "model.onnx", folder / "page", ort=MODULES)
    site = Site(folder / "page")
    yield site.url, model_of(site)
    site.shutdown()
    site.server_close()


def test_psi_mixing_and_directions_of_styles(browser: Browser, page: tuple[str, Generator]) -> None:
    url, generator = page
    browser.open(url)
    assert "psi" in browser.text("truncation-of")
    same_images(browser.canvases("#grid canvas"), generator.sample(16), generator)

    browser.set(seed=3, count=9, truncation=0.6)
    same_images(browser.canvases("#grid canvas"), generator.sample(9, seed=3, truncation=0.6), generator)

    browser.set(mix=7, layer=3)
    w = generator.styles(9, seed=3, truncation=0.6)
    w[:, 3:] = generator.styles(9, seed=7, truncation=0.6)[:, 3:]
    same_images(browser.canvases("#grid canvas"), generator.sample(9, latents={"w": w}), generator)
    same_images(browser.canvases("#chosen"), generator.sample(1, latents={"w": w[:1]}), generator)

    browser.set(**{"direction:everywhere": 2, "direction:coarse": -3})
    moved = edit(w, DIRECTIONS, {"everywhere": 2, "coarse": -3})
    same_images(browser.canvases("#grid canvas"), generator.sample(9, latents={"w": moved}), generator)

    browser.set(layer=8, truncation=1)  # as many as there are layers: of none
    assert browser.evaluate("document.querySelector('output[for=layer]').value") == "none"
    moved = edit(generator.styles(9, seed=3), DIRECTIONS, {"everywhere": 2, "coarse": -3})
    same_images(browser.canvases("#grid canvas"), generator.sample(9, latents={"w": moved}), generator)
    browser.evaluate("document.getElementById('reset').click()")
    browser.settle()
    same_images(browser.canvases("#grid canvas"), generator.sample(9, seed=3), generator)

    browser.set(**{"direction:of z": 1.5})
    z = edit(generator.latents(9, seed=3), DIRECTIONS, {"of z": 1.5})
    same_images(browser.canvases("#grid canvas"), generator.sample(9, latents={"z": z}), generator)
    assert browser("seen") == []


def test_every_slider_of_a_direction_has_a_stop_at_zero(browser: Browser, page: tuple[str, Generator]) -> None:
    url, _ = page
    browser.open(url)
    sliders = "[...document.querySelectorAll('#directions input')]"
    assert browser.evaluate(f"{sliders}.map((slider) => slider.value)") == ["0"] * len(DIRECTIONS)
    ends = browser.evaluate(f"{sliders}.map(({{ min, max }}) => [Number(min), Number(max)])")
    assert ends == [[-4, 4], [-5, 5], [-3, 3], [-2, 5], [0, 0.3]]
    browser.set(**{"direction:uneven": 0.5, "direction:aside": 0.015})
    shown = browser.evaluate("[...document.querySelectorAll('#directions output')].map((output) => output.value)")
    assert shown == ["0.00", "0.00", "0.00", "0.50", "0.015"]
    browser.evaluate("document.getElementById('reset').click()")
    browser.settle()
    assert browser.evaluate(f"{sliders}.map((slider) => slider.value)") == ["0"] * len(DIRECTIONS)


def test_a_walk_between_styles(browser: Browser, page: tuple[str, Generator]) -> None:
    url, generator = page
    browser.open(url)
    browser.set(**{"from": 4, "to": 9, "position": 5, "truncation": 0.8, "direction:everywhere": -2})
    keys = np.concatenate([generator.styles(1, seed=seed, truncation=0.8) for seed in (4, 9)])
    frames = edit(interpolate(keys, 16, spherical=False), DIRECTIONS, {"everywhere": -2})
    samples = generator.sample(17, latents={"w": frames})
    same_images(browser.canvases("#frame"), samples[5:6], generator)
    strip = browser.canvases("#strip")[0]
    same_images(np.stack(np.split(strip, 9, axis=1)), samples[::2], generator)
