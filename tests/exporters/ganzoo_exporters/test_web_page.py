"""The web page in a headless Chromium, against the Python runtime."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import MODULES, Browser, Site, model_of, needs_browser, same_images
from conftest import ROOT
from handmade import write_model
from PIL import Image as Picture

from ganzoo import Attributes, Image, Label, Latent, Signature
from ganzoo_exporters.web import write_page
from ganzoo_runtime import Generator, edit, interpolate, lines, pixels

ZOO = ROOT / "zoo" / "ganzoo_zoo"
pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    browser("look", width=1280, height=900, scheme="light")
    yield browser
    browser.close()


COLORS = Signature(
    (Latent((2, 3), "uniform"), Latent((5,), name="noise"), Label(2, name="a"), Label(3, ("x", "y", "z"), name="b")),
    Image(3, 6, 4),
)
SHAPES = Signature((Latent((6,)), Attributes(2, (), ((0.0, 1.0), (1.0, 0.5), (-1.0, 0.0)))), Image(1, 5, 5, (0.0, 1.0)))
MEAN = [0.3, -0.2, 0.1, 0.0, 0.5, -0.5]
DIRECTIONS = {
    "to the left": {"latent": "z", "vector": [1.0, 0, 0, -1.0, 0, 0.5], "range": [-2, 2]},
    "brighter": {"latent": "z", "vector": [0, 0.25, 0, 0, 0, 0], "range": [-4.0, 1.0]},
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """Pages of a model from the zoo, and of some made by hand."""
    folder = tmp_path_factory.mktemp("sites")
    models = {
        "digits": ZOO / "cgan-mnist5k" / "generator.onnx",
        "resampled": ZOO / "biggan-mnist5k" / "generator.onnx",
        "texts": ZOO / "scratchgan-grammar" / "generator.onnx",
        "captions": ZOO / "text2image-captioned_shapes" / "generator.onnx",
        "colors": write_model(folder / "colors.onnx", COLORS, model={"key": "tint"}, data={"name": "hues"}),
        "NHWC": write_model(
            folder / "nhwc.onnx", Signature((Latent((6,)),), Image(3, 4, 6, (0.0, 255.0), layout="NHWC"))
        ),
        "NCHW": write_model(
            folder / "nchw.onnx", Signature((Latent((6,)),), Image(3, 4, 6, (0.0, 255.0), layout="NCHW"))
        ),
        "shapes": write_model(folder / "shapes.onnx", SHAPES, directions=DIRECTIONS, latent_mean={"z": MEAN}),
    }
    sites = {}
    for name, model in models.items():
        write_page(model, folder / name, ort=MODULES)
        sites[name] = Site(folder / name)
    yield sites
    for site in sites.values():
        site.shutdown()
        site.server_close()


def test_images_are_those_of_the_python_runtime(browser: Browser, sites: dict[str, Site]) -> None:
    generator = model_of(sites["digits"])
    browser.open(sites["digits"].url)
    assert browser.text("title") == "cgan · mnist5k"
    same_images(browser.canvases("#grid canvas"), generator.sample(16), generator)
    browser.set(seed=2**70 + 1, count=36, truncation=0.6)
    same_images(browser.canvases("#grid canvas"), generator.sample(36, seed=2**70 + 1, truncation=0.6), generator)
    browser.set(**{"label:y": 7, "count": 4})
    samples = generator.sample(4, seed=2**70 + 1, truncation=0.6, label=7)
    same_images(browser.canvases("#grid canvas"), samples, generator)
    same_images(browser.canvases("#chosen"), samples[:1], generator)
    assert browser.text("caption") == f"Sample 1 of seed {2**70 + 1}, class 7"
    assert browser.evaluate("document.querySelectorAll('#grid input')[2].ariaLabel") == "Sample 3, class 7"
    assert browser("seen") == []


def test_a_caption_is_drawn_and_styles_of_one_layer_are_not_mixed(browser: Browser, sites: dict[str, Site]) -> None:
    generator = model_of(sites["captions"])
    browser.open(sites["captions"].url)
    same_images(browser.canvases("#grid canvas"), generator.sample(16), generator)
    browser.set(**{"text:caption": "A large, RED circle!"})
    same_images(browser.canvases("#grid canvas"), generator.sample(16, text="a large red circle"), generator)
    assert browser.text("caption") == "Sample 1 of seed 0: a large red circle"
    assert browser.evaluate("getComputedStyle(document.getElementById('mixing')).display") == "none"


def test_a_word_is_not_judged_while_it_is_typed(browser: Browser, sites: dict[str, Site]) -> None:
    browser.open(sites["captions"].url)
    typed = "(text) => { const box = controls.elements.namedItem('text:caption'); box.value = text;"
    typed += " box.dispatchEvent(new Event('input', { bubbles: true })); }"
    said = browser.text("status")
    browser.evaluate(f"({typed})('a bl')")
    assert browser.text("status") == said
    browser("wait", script="document.getElementById('status').textContent.startsWith('The model does not know bl')")
    browser.evaluate(f"({typed})('a blue circle')")
    browser("wait", script="document.getElementById('caption').textContent.endsWith(': a blue circle')")


def test_texts_have_a_temperature(browser: Browser, sites: dict[str, Site]) -> None:
    generator = model_of(sites["texts"])
    browser.open(sites["texts"].url)
    slider = browser.evaluate(
        "(({ labels, min, max, value }) => [labels[0].textContent, min, max, value])(controls.elements.temperature)"
    )
    assert slider == ["Temperature", "0", "2", "1"]
    assert browser.evaluate("controls.elements.namedItem('truncation')?.name") == "temperature"
    for heat in (1.0, 0.4):
        browser.set(temperature=heat)
        shown = browser.evaluate("[...document.querySelectorAll('#grid span')].map((span) => span.textContent)")
        assert shown == lines(generator.sample(16, attributes=[heat]), generator.signature["output"])
    assert browser("seen") == []


def test_several_latents_and_labels(browser: Browser, sites: dict[str, Site]) -> None:
    generator = model_of(sites["colors"])
    browser.open(sites["colors"].url)
    assert browser.text("title") == "tint · hues"
    same_images(browser.canvases("#grid canvas"), generator.sample(16), generator)
    browser.set(**{"label:b": 2, "seed": 5})
    same_images(browser.canvases("#grid canvas"), generator.sample(16, seed=5, label={"b": 2}), generator)
    assert browser.evaluate("document.querySelectorAll('#grid input')[3].ariaLabel") == "Sample 4, class 1, class z"


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_models_that_give_pixels(browser: Browser, sites: dict[str, Site], layout: str) -> None:
    generator = model_of(sites[layout])
    samples = generator.sample(16)
    assert samples.dtype == np.uint8
    browser.open(sites[layout].url)
    expected = pixels(samples, (0, 255), layout)
    np.testing.assert_array_equal(browser.canvases("#grid canvas")[..., :3], expected)


def test_directions_attributes_and_the_latent_mean(browser: Browser, sites: dict[str, Site]) -> None:
    generator = model_of(sites["shapes"])
    browser.open(sites["shapes"].url)
    labels = browser.evaluate("[...document.querySelectorAll('#directions label')].map((label) => label.textContent)")
    assert labels == list(DIRECTIONS)
    browser.set(**{"direction:to the left": 1.52, "direction:brighter": -2, "truncation": 0.7})
    z = generator.latents(16, truncation=0.7)
    z = edit(z, DIRECTIONS, {"to the left": 1.52, "brighter": -2})
    y = np.float32(generator.signature["inputs"][1]["examples"])[np.arange(16) % 3]
    same_images(browser.canvases("#grid canvas"), generator(z, y), generator)
    browser.evaluate("document.getElementById('reset').click()")
    browser.settle()
    browser.set(truncation=1)
    same_images(browser.canvases("#grid canvas"), generator.sample(16), generator)


def test_a_threshold_of_latents_that_are_resampled(browser: Browser, sites: dict[str, Site]) -> None:
    generator = model_of(sites["resampled"])
    browser.open(sites["resampled"].url)
    shown = "document.querySelector('output[for=truncation]').value"
    assert browser.evaluate(f"[{shown}, truncation.value]") == ["none", "3"]
    same_images(browser.canvases("#grid canvas"), generator.sample(16), generator)
    browser.set(seed=4, truncation=0.5)
    assert browser.evaluate(shown) == "0.50"
    same_images(browser.canvases("#grid canvas"), generator.sample(16, seed=4, truncation=0.5), generator)
    browser.set(truncation=0)
    assert browser.evaluate("truncation.value") == "0.05", "no number is within 0"
    assert browser("seen") == []


def test_the_walk(browser: Browser, sites: dict[str, Site]) -> None:
    generator = model_of(sites["digits"])
    browser.open(sites["digits"].url)
    browser.evaluate("document.querySelectorAll('#grid input')[3].click()")  # of class 3
    browser.set(**{"from": 4, "to": 9, "position": 5})
    keys = np.concatenate([generator.latents(1, 4), generator.latents(1, 9)])
    frames = generator(interpolate(keys, 16), np.full(17, 3))
    same_images(browser.canvases("#frame"), frames[5:6], generator)
    strip = browser.canvases("#strip")[0]
    same_images(np.stack(np.split(strip, 9, axis=1)), frames[::2], generator)
    assert browser.evaluate("document.getElementById('frame').ariaLabel") == "31 % of the way from seed 4 to 9"


def test_the_ends_of_a_walk_are_truncated(browser: Browser, sites: dict[str, Site]) -> None:
    generator = model_of(sites["resampled"])
    browser.open(sites["resampled"].url)
    browser.evaluate("document.querySelectorAll('#grid input')[3].click()")  # of class 3
    browser.set(**{"from": 4, "to": 9, "position": 8, "truncation": 0.5})
    keys = np.concatenate([generator.latents(1, seed, truncation=0.5) for seed in (4, 9)])
    same_images(browser.canvases("#frame"), generator(interpolate(keys, 16), np.full(17, 3))[8:9], generator)


def test_downloads_are_png_files(browser: Browser, sites: dict[str, Site], tmp_path: Path) -> None:
    generator = model_of(sites["digits"])
    browser.open(sites["digits"].url)
    browser("downloads", folder=str(tmp_path))
    for button in ("save-grid", "save-chosen", "save-strip"):
        browser.evaluate(f"document.getElementById({button!r}).click()")
        browser("wait", script="document.getElementById('status').textContent.startsWith('Saved')")
        browser.evaluate("document.getElementById('status').textContent = ''")
    names = [f"cgan-mnist5k-{name}.png" for name in ("seed-0", "seed-0-sample-1", "walk-0-1")]
    for _ in range(100):
        if {path.name for path in tmp_path.iterdir()} == set(names):
            break
        threading.Event().wait(0.05)
    sheet, chosen, strip = (np.asarray(Picture.open(tmp_path / name).convert("RGBA")) for name in names)
    tiles = sheet.reshape(4, 28, 4, 28, 4).swapaxes(1, 2).reshape(16, 28, 28, 4)
    same_images(tiles, generator.sample(16), generator)
    same_images(chosen[None], generator.sample(1), generator)
    assert strip.shape == (28, 17 * 28, 4)


def test_the_keyboard_alone(browser: Browser, sites: dict[str, Site]) -> None:
    browser.open(sites["digits"].url)
    focused = "document.activeElement.ariaLabel || document.activeElement.id"
    browser("press", keys=["Tab"])
    assert browser.evaluate(focused) == "Sample 1, class 0"
    browser("press", keys=["ArrowRight", "ArrowRight"])
    assert browser.evaluate(focused) == "Sample 3, class 2"
    browser.settle()
    assert browser.text("caption") == "Sample 3 of seed 0, class 2"
    assert browser.evaluate("getComputedStyle(document.activeElement.nextSibling).outlineStyle") == "solid"
    browser("press", keys=["Tab", "Tab", "Tab"])
    assert browser.evaluate(focused) == "again"
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser("press", keys=["Enter", "Tab"])
    browser.settle()
    assert browser.evaluate("document.activeElement.value") != "0"
    browser("press", keys=["4", "2"])  # whoever tabs to a text has it selected
    browser.settle()
    assert browser.text("status").startswith("16 samples of seed 42 in ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_for_axe_to_find_and_nothing_beyond_the_edge(
    browser: Browser, sites: dict[str, Site], scheme: str
) -> None:
    for width in (1280, 320):
        browser("look", width=width, height=800, scheme=scheme)
        browser.open(sites["shapes"].url)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser("axe") == []
    browser("look", width=1280, height=900, scheme="light")


def test_the_address_keeps_what_was_chosen(browser: Browser, sites: dict[str, Site]) -> None:
    browser.open(sites["digits"].url)
    browser.set(seed=77, count=9, truncation=0.5)
    link, before = browser.evaluate("location.href"), browser.canvases("#grid canvas")
    browser.open(link)
    np.testing.assert_array_equal(browser.canvases("#grid canvas"), before)
    assert browser.evaluate("[seed.value, count.value, truncation.value]") == ["77", "9", "0.5"]
    browser.open(f"{sites['digits'].url}#count=5000&truncation=9&nonsense=1&label%3Ay=99&backend=webgl")
    assert len(browser.canvases("#grid canvas")) == 1
    assert browser.evaluate("[count.value, truncation.value, backend.value]") == ["1", "1.5", "wasm"]
    assert browser("seen") == []


def test_a_wrong_seed_is_told(browser: Browser, sites: dict[str, Site]) -> None:
    browser.open(sites["digits"].url)
    before = browser.canvases("#grid canvas")
    browser.set(seed="-3")
    assert browser.text("status") == "A seed is a whole number, such as 7."
    assert browser.evaluate("[seed.ariaInvalid, to.ariaInvalid]") == ["true", "false"]
    np.testing.assert_array_equal(browser.canvases("#grid canvas"), before)
    browser.set(seed=3)
    assert browser.text("status").startswith("16 samples of seed 3 in ")
    assert browser.evaluate("seed.ariaInvalid") == "false"


def test_it_works_offline_once_it_is_loaded(browser: Browser, tmp_path: Path) -> None:
    write_page(ZOO / "cgan-mnist5k" / "generator.onnx", tmp_path, ort=MODULES)
    site = Site(tmp_path)
    browser.open(site.url)
    site.shutdown()
    site.server_close()
    assert "/ort/ort-wasm-simd-threaded.wasm" in " ".join(site.asked)
    browser.set(seed=8)
    generator = Generator(tmp_path / "generator.onnx", providers=["CPUExecutionProvider"])
    same_images(browser.canvases("#grid canvas"), generator.sample(16, seed=8), generator)
    assert browser("seen") == []  # a request to anywhere else would have failed, here and by the page's own policy


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("generator.onnx", "generator.onnx cannot be loaded: 404"),
        ("ort/ort.wasm.min.js", "ort.wasm.min.js"),
        ("ort/ort-wasm-simd-threaded.wasm", "wasm"),
        ("worker.js", "the model's script cannot be loaded"),
    ],
)
def test_a_folder_that_is_not_whole(browser: Browser, tmp_path: Path, missing: str, message: str) -> None:
    write_page(ZOO / "cgan-mnist5k" / "generator.onnx", tmp_path, ort=MODULES)
    (tmp_path / missing).unlink()
    site = Site(tmp_path)
    browser("goto", url=site.url)
    browser("wait", script="document.getElementById('title').textContent === 'The model cannot be run'")
    site.shutdown()
    site.server_close()
    assert message in browser.text("status")
    browser("seen")


def test_a_gpu_draws_the_same(browser: Browser, sites: dict[str, Site]) -> None:
    browser.open(sites["digits"].url)
    if not browser.evaluate("navigator.gpu?.requestAdapter().then(Boolean) ?? false"):
        pytest.skip("this Chromium has no WebGPU")
    before = browser.canvases("#grid canvas")
    browser.set(backend="webgpu")
    browser("wait", script="document.getElementById('status').textContent.startsWith('16 samples')")
    generator = model_of(sites["digits"])
    same_images(browser.canvases("#grid canvas"), generator.sample(16), generator)
    assert before.shape == browser.canvases("#grid canvas").shape
    assert browser("seen") == []


def test_a_file_says_that_it_needs_a_host(browser: Browser, sites: dict[str, Site]) -> None:
    browser("goto", url=(sites["digits"].folder / "index.html").as_uri())
    browser("wait", script="getComputedStyle(document.getElementById('stuck')).visibility === 'visible'")
    assert "python3 -m http.server" in browser.text("stuck")
    browser("seen")
