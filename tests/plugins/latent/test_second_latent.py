"""Grids and directions of a latent that is not a model's first."""

import json
from pathlib import Path

import numpy as np
import pytest
from built import CPU, build
from conftest import Command
from PIL import Image as Pillow

import ganzoo_runtime as runtime
from ganzoo import Image, Label, Latent, Signature
from ganzoo.fields.drawing import grid as lay_out
from ganzoo.images.titles import columns_named
from ganzoo_plugins.latent.directions import find_components, fit
from ganzoo_runtime import Generator

CODES = Signature(
    (Latent((6,)), Label(3, ("no", "yes", "maybe")), Latent((3,), "uniform", name="c")), Image(1, 8, 8, (-1, 1))
)


@pytest.fixture
def codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator:
    monkeypatch.chdir(tmp_path)
    Path("codes.onnx").write_bytes(build(CODES))
    return Generator("codes.onnx", providers=CPU)


def assert_shows(path: str, samples: np.ndarray, columns: int, names: tuple[str, ...] = ()) -> None:
    with Pillow.open(path) as picture:
        expected = lay_out(runtime.pixels(samples, (-1, 1)), columns)
        expected = columns_named(expected, names) if names else expected
        np.testing.assert_array_equal(np.asarray(picture).reshape(expected.shape), expected)


def test_a_grid_of_codes_holds_the_other_latent(cli: Command, codes: Generator) -> None:
    z, c = codes.latents(5), codes.latents(5, name="c")
    assert cli("grid", "codes.onnx", "--on", "c", "--keys", "4,2", "--out", "a.png").code == 0
    expected = codes(np.repeat(z[:1], 6, axis=0), np.arange(6) % 3, np.repeat(c[[4, 2]], 3, axis=0))
    assert_shows("a.png", expected, 3)


def test_directions_of_codes_are_fitted_found_and_drawn(cli: Command, codes: Generator) -> None:
    z, c = codes.latents(40), codes.latents(40, name="c")
    values = c @ np.array([0.6, 0.0, 0.8], np.float32)
    rows = "".join(f"{number},0,{value}\n" for number, value in enumerate(values))
    Path("labels.csv").write_text(f"sample,seed,up\n{rows}")
    assert cli("directions", "fit", "codes.onnx", "--on", "c", "--labels", "labels.csv").code == 0
    (direction,) = json.loads(Path("directions.json").read_text()).values()
    assert direction["latent"] == "c"
    np.testing.assert_allclose(direction["vector"], fit(c, values), atol=1e-5)

    assert cli("directions", "find", "codes.onnx", "--on", "c", "-k", "1", "-n", "40", "--out", "found.json").code == 0
    pca = json.loads(Path("found.json").read_text())["pca1"]
    assert pca["latent"] == "c"
    labels = np.arange(40) % 3
    pixels = runtime.pixels(codes(z, labels, c), (-1, 1)).astype(np.float32)
    np.testing.assert_allclose(pca["vector"], find_components(c, pixels, labels, 1)[0], atol=1e-5)

    start = ("directions", "grid", "codes.onnx", "--directions", "directions.json")
    assert cli(*start, "up", "--on", "c", "-n", "2", "--columns", "3", "--label", "yes", "--out", "b.png").code == 0
    low, high = direction["range"]
    moved = [code + s * np.array(direction["vector"], np.float32) for code in c[:2] for s in (low, 0.0, high)]
    expected = codes(np.repeat(z[:2], 3, axis=0), np.ones(6, int), np.stack(moved).astype(np.float32))
    assert_shows("b.png", expected, 3, (f"{low:.3g}", "0", f"{high:.3g}"))
    cli(*start).refused("no directions of the latent 'z' (see --on)")
    cli(*start, "upp", "--on", "c").refused("no direction 'upp' of the latent 'c' (see --on); did you mean 'up'?")


def test_a_direction_of_another_latent_says_which_one_to_give(cli: Command, codes: Generator) -> None:
    cli("edit", "codes.onnx", "--to", "yes=1").refused("this model has labels: choose a class with --label")
    edit = ("edit", "codes.onnx", "--direction")
    cli(*edit, "c.2=1").refused("'c.2' is a direction of 'c', not of 'z': give --on c")
    cli(*edit, "z.0=1", "--on", "c").refused("'z.0' is a direction of 'z', not of 'c': give --on z")
    cli(*edit, "c.3=1", "--on", "c").refused("no direction 'c.3' of the latent 'c' (see --on), which has 3 numbers")
    up = {"up": {"latent": "c", "vector": [1.0, 0.0, 0.0], "range": [-1, 1], "method": "pca"}}
    Path("found.json").write_text(json.dumps(up))
    cli(*edit, "up=1", "--directions", "found.json").refused("'up' is a direction of 'c', not of 'z': give --on c")
    cli(*edit, "upp=1", "--on", "c", "--directions", "found.json").refused("(see --on); did you mean 'up'?")
