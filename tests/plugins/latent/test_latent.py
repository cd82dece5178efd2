"""Ways through the space of latents, and the commands for them."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from built import CPU, POINTS, build
from conftest import Command
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image as Pillow
from torch import Tensor, nn

import ganzoo_runtime as runtime
from ganzoo import Attributes, Image, Label, Latent, Signature, TrainedModel, UserError
from ganzoo.gan.networks import Generator as Network
from ganzoo.inference.sampling import TorchSampler
from ganzoo_plugins.latent.directions import describe, write_directions
from ganzoo_runtime import Generator, edit, interpolate, truncate

GREY = Signature((Latent((6,)), Label(3, ("no", "yes", "maybe"))), Image(1, 8, 8))
PLAIN = Signature((Latent((6,)),), Image(3, 8, 8))
KEYS = arrays.arrays(np.float32, st.tuples(st.integers(2, 5), st.integers(1, 6)), elements=st.floats(-4, 4, width=32))

pytestmark = pytest.mark.usefixtures("cache")


# --- Ways


@settings(deadline=None, max_examples=100)
@given(KEYS, st.integers(1, 7), st.booleans(), st.booleans())
def test_a_way_goes_through_its_keys(keys: np.ndarray, steps: int, spherical: bool, loop: bool) -> None:
    way = interpolate(keys, steps, spherical=spherical, loop=loop)
    assert way.shape == (len(keys) * steps if loop else (len(keys) - 1) * steps + 1, keys.shape[1])
    assert way.dtype == np.float32
    through = way[::steps]
    np.testing.assert_allclose(through, keys[: len(through)], atol=1e-4)
    if spherical and not loop:
        back = interpolate(keys[::-1], steps)
        np.testing.assert_allclose(way, back[::-1], atol=1e-3)


def test_a_great_circle_keeps_the_length_and_the_speed() -> None:
    start, end = np.random.default_rng(0).standard_normal((2, 64))
    end *= np.linalg.norm(start) / np.linalg.norm(end)
    way = interpolate([start, end], 20).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), np.linalg.norm(start), rtol=1e-5)
    steps = [np.linalg.norm(b - a) for a, b in pairwise(way)]
    np.testing.assert_allclose(steps, steps[0], rtol=1e-4)
    straight = interpolate([start, end], 20, spherical=False)
    assert np.linalg.norm(straight[10]) < 0.8 * np.linalg.norm(start)
    np.testing.assert_allclose(straight[5], 0.75 * start + 0.25 * end, atol=1e-6)


@pytest.mark.parametrize("end", [[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
def test_keys_without_an_angle_between_them_are_joined_by_a_line(end: list[float]) -> None:
    way = interpolate([[1.0, 0.0], end], 4)
    np.testing.assert_allclose(way, np.linspace([1.0, 0.0], end, 5), atol=1e-6)


@pytest.mark.parametrize(("keys", "steps"), [([[1.0]], 3), ([1.0, 2.0], 3), ([[1.0], [2.0]], 0)])
def test_ways_that_are_none(keys: Any, steps: int) -> None:
    with pytest.raises(ValueError, match="at least two latents"):
        interpolate(keys, steps)


def test_truncation_and_edits_are_arithmetic() -> None:
    z = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    np.testing.assert_allclose(truncate(z, 0.5, 1.0), 1 + 0.5 * (z - 1))
    np.testing.assert_array_equal(truncate(z, 1.0, 1.0), z)
    vector = np.arange(6, dtype=np.float64)
    known = {"up": {"vector": vector.tolist()}, "down": {"vector": (-vector).tolist()}}
    np.testing.assert_allclose(edit(z, known, {"up": 2}), z + 2 * vector.reshape(3, 2))
    np.testing.assert_allclose(edit(z[0], known, {"up": 2, "down": 0.5}), z[0] + 1.5 * vector.reshape(3, 2))
    np.testing.assert_array_equal(z, np.arange(12).reshape(2, 3, 2))
    with pytest.raises(ValueError, match="no direction 'left'; there is: up, down"):
        edit(z, known, {"left": 1})
    with pytest.raises(ValueError, match="has 6 numbers: it is of a model with other latents"):
        edit(np.zeros((2, 5)), known, {"up": 1})


# --- What a run folder opens to


class Sum(Network):
    """Draws images that are a fixed mixture of latents."""

    def __init__(self) -> None:
        super().__init__(GREY)
        self.mix = nn.Linear(6, 64, bias=False)
        self.shift = nn.Embedding(3, 64)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.mix(z) + self.shift(y)).view(-1, 1, 8, 8)


def test_torch_and_the_runtime_take_latents_alike() -> None:
    document = {"schema": 1, "signature": GREY.to_json(), "latent_mean": {"z": [0.5] * 6}}
    file, run = Generator(build(GREY, document), providers=CPU), TorchSampler(Sum(), document)
    for asked in ({}, {"truncation": 0.5}, {"name": "z", "truncation": 0.0}):
        np.testing.assert_allclose(run.latents(70, 3, **asked), file.latents(70, 3, **asked), atol=1e-6)
    z = run.latents(70, 3)
    np.testing.assert_allclose(run.sample(70, latents=z), run.sample(70, seed=3), atol=1e-6)
    for latent in (z[0], {"z": z}, z):
        pieces = [list(sampler.stream(70, seed=1, latents=latent, label=1)) for sampler in (run, file)]
        for name in ("z", "y"):
            ours, theirs = (np.concatenate([inputs[name] for _, inputs in piece]) for piece in pieces)
            np.testing.assert_allclose(ours, theirs)
        assert len(pieces[0]) > 1
    pieces = list(run.stream(150, seed=3, truncation=0.7))
    np.testing.assert_array_equal(np.concatenate([s for s, _ in pieces]), run.sample(150, seed=3, truncation=0.7))
    np.testing.assert_array_equal(np.concatenate([i["y"] for _, i in pieces]), np.arange(150) % 3)
    for wrong, words in (({"w": z}, "no latent 'w'"), (z[:3], "have the shape"), (z * np.nan, "finite")):
        with pytest.raises(UserError, match=words):
            run.sample(70, latents=wrong)
    with pytest.raises(UserError, match="no latent 'w'; there is: z"):
        run.latents(1, 0, "w")


def test_a_model_refuses_to_draw_what_is_not_finite() -> None:
    """It would look like black pixels."""
    network = Sum()
    network.shift.weight.data[1] = torch.nan
    model = TrainedModel(TorchSampler(network, {"signature": GREY.to_json()}), "run")
    assert model.sample(2, label=0).shape == (2, 1, 8, 8)
    for draw in (
        lambda: model.sample(2),
        lambda: list(model.stream(2)),
        lambda: model(np.zeros((1, 6), np.float32), np.ones(1, int)),
    ):
        with pytest.raises(UserError, match="draws numbers that are not finite: its training has failed, or what it"):
            draw()


# --- The commands


@pytest.fixture
def grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator:
    monkeypatch.chdir(tmp_path)
    Path("grey.onnx").write_bytes(build(GREY))
    Path("plain.onnx").write_bytes(build(PLAIN))
    Path("points.onnx").write_bytes(build(POINTS))
    return Generator("grey.onnx", providers=CPU)


def images(path: str, columns: int, side: int = 8, pad: int = 2, titles: int = 0) -> np.ndarray:
    """Take a sheet apart again, without a strip of titles above it: [N, side, side, C]."""
    with Pillow.open(path) as picture:
        sheet = np.asarray(picture)[titles:]
    sheet = sheet if sheet.ndim == 3 else sheet[..., None]
    scale = sheet.shape[1] // (columns * (side + pad) + pad)
    sheet = sheet[::scale, ::scale]
    rows = (len(sheet) - pad) // (side + pad)
    tiles = [
        sheet[pad + row * (side + pad) :][:side, pad + column * (side + pad) :][:, :side]
        for row in range(rows)
        for column in range(columns)
    ]
    return np.stack(tiles)


def shown(generator: Generator, z: np.ndarray, y: Any) -> np.ndarray:
    labels = np.broadcast_to(np.asarray(y), len(z))
    return runtime.pixels(generator(z, labels), (-1, 1))


def test_interpolations(cli: Command, grey: Generator) -> None:
    outcome = cli("interpolate", "grey.onnx", "--keys", "4,0,2", "--steps", "3", "--label", "yes", "--out", "a.png")
    assert (outcome.code, outcome.out) == (0, "a.png\n"), outcome
    z = interpolate(grey.latents(5)[[4, 0, 2]], 3)
    np.testing.assert_array_equal(images("a.png", 4), shown(grey, z[[0, 1, 2, 3, 3, 4, 5, 6]], 1))
    assert cli("interpolate", "grey.onnx", "--steps", "2", "--linear", "--out", "b.png").code == 0
    z = interpolate(grey.latents(5), 2, spherical=False)
    np.testing.assert_array_equal(images("b.png", 9), shown(grey, np.tile(z, (3, 1)), np.repeat([0, 1, 2], 9)))
    assert cli("interpolate", "grey.onnx", "--steps", "4", "--out", "film.gif").code == 0
    with Pillow.open("film.gif") as film:
        assert film.n_frames == 20
        assert film.info["loop"] == 0
    assert cli("interpolate", "plain.onnx", "--steps", "4", "--out", "color.gif").code == 0
    assert cli("interpolate", "grey.onnx", "--steps", "2", "--label", "0", "--out", "frames").code == 0
    assert len(list(Path("frames").iterdir())) == 9


def test_an_mp4_and_what_it_needs(cli: Command, grey: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "av", None)
        cli("interpolate", "plain.onnx", "--steps", "4", "--out", "a.mp4").refused(
            "MP4 animations need PyAV: pip install av"
        )
        assert not Path("a.mp4").exists()
    av = pytest.importorskip("av")
    assert cli("interpolate", "plain.onnx", "--steps", "4", "--out", "a.mp4").code == 0
    with av.open("a.mp4") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 20
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    assert np.abs(frames[0].astype(float) - frames[10]).mean() > 1


def test_grids(cli: Command, grey: Generator) -> None:
    assert cli("grid", "grey.onnx", "-n", "4", "--seed", "2", "--truncation", "0.5").code == 0
    z = grey.latents(4, 2, truncation=0.5)
    np.testing.assert_array_equal(images("grid.png", 3), shown(grey, np.repeat(z, 3, axis=0), np.tile([0, 1, 2], 4)))
    cli("grid", "plain.onnx").refused("no classes to lay out here")
    cli("grid", "grey.onnx", "--label", "1").refused("no classes to lay out here")


def test_edits(cli: Command, grey: Generator) -> None:
    known = {"up": describe(Latent((6,)), np.arange(6.0), "test")}
    write_directions(Path("d.json"), known, GREY)
    edit_up = ("--directions", "d.json", "--direction", "up=1.5")
    assert cli("edit", "grey.onnx", *edit_up, "--keys", "5,1").code == 0
    z = grey.latents(6)[[5, 1]]
    moved = edit(z, known, {"up": 1.5})
    np.testing.assert_array_equal(
        images("edited.png", 2), shown(grey, np.concatenate([z, moved]), [2, 1, 2, 1])
    )  # samples keep the classes that go with their numbers
    assert cli("edit", "grey.onnx", *edit_up, "-n", "3", "--out", "e.npz").code == 0
    with np.load("e.npz") as file:
        np.testing.assert_allclose(file["latents"], edit(grey.latents(3), known, {"up": 1.5}), atol=1e-6)
    # what came out is where the next one starts
    back = ("--directions", "d.json", "--direction", "up=-1.5", "--latent", "e.npz")
    assert cli("edit", "grey.onnx", *back, "--out", "back").code == 0
    with Pillow.open("back/000002.png") as picture:
        np.testing.assert_allclose(np.asarray(picture)[..., None], shown(grey, grey.latents(3)[2:], 2)[0], atol=1)
    np.save("z.npy", grey.latents(1)[0])
    assert cli("edit", "grey.onnx", *back[:4], "--latent", "z.npy", "--out", "one.png").code == 0


def test_directions_in_the_model_file_need_no_other(cli: Command, grey: Generator) -> None:
    known = {"up": describe(Latent((6,)), np.arange(6.0), "test")}
    document = {"schema": 1, "signature": GREY.to_json(), "directions": known}
    Path("own.onnx").write_bytes(build(GREY, document))
    assert cli("edit", "own.onnx", "--direction", "up=1").code == 0
    assert Generator("own.onnx", providers=CPU).directions == known
    cli("edit", "own.onnx").refused("say what to change", "there is up")
    cli("edit", "own.onnx", "--direction", "upp=1").refused("there is no direction 'upp'", "did you mean 'up'?")


def test_sums_of_samples(cli: Command, grey: Generator) -> None:
    assert cli("edit", "grey.onnx", "--arithmetic", "3,5 - 1+0", "--label", "2", "--out", "a.png").code == 0
    z = grey.latents(6)
    terms = np.stack([(z[3] + z[5]) / 2, z[1], z[0], (z[3] + z[5]) / 2 - z[1] + z[0]])
    np.testing.assert_array_equal(images("a.png", 4), shown(grey, terms, 2))
    assert cli("edit", "grey.onnx", "--arithmetic", "1 - 5", "--out", "b.png").code == 0
    np.testing.assert_array_equal(images("b.png", 3), shown(grey, np.stack([z[1], z[5], z[1] - z[5]]), 1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["interpolate", "points.onnx"], ["draws no images that could be edited"]),
        (["interpolate", "grey.onnx", "--keys", "3"], ["at least two samples"]),
        (["interpolate", "grey.onnx", "--keys", "3,99999999"], ["at most 7 digits"]),
        (["interpolate", "grey.onnx", "--keys", "3;4"], ["written like 0,7,3, not '3;4'"]),
        (["interpolate", "grey.onnx", "--out", "a.jpg"], ["--out is a .gif, an .mp4, a .png or a folder"]),
        (["interpolate", "grey.onnx", "--seed", "-1"], ["--seed is at least 0"]),
        (["interpolate", "grey.onnx", "--label", "never"], ["unknown --label 'never'"]),
        (["interpolate", "grey.onnx", "--latent", "none.npy"], ["cannot read none.npy: No such file"]),
        (["interpolate", "grey.onnx", "--latent", "grey.onnx"], ["no arrays can be read from grey.onnx"]),
        (["interpolate", "grey.onnx", "--latent", "other.npy"], ["no latents of this model, which have the shape [6]"]),
        (["interpolate", "grey.onnx", "--latent", "other.npz"], ["no latents can be read from other.npz"]),
        (["interpolate", "grey.onnx", "--latent", "other.npy", "--keys", "1,2"], ["give one of them"]),
        (["interpolate", "grey.onnx", "--steps", str(10**20)], ["'--steps': it is at most 100000"]),
        (["grid", "grey.onnx", "-n", str(10**20)], ["'-n': it is at most 10000000"]),
        (["edit", "grey.onnx", "-n", str(10**20)], ["'-n': it is at most 10000000"]),
        (["edit", "grey.onnx", "--arithmetic", "3 +"], ["written like '3,8 - 5 + 1', not '3 +'"]),
        (["directions", "fit", "grey.onnx", "-n", str(10**20)], ["'-n': it is at most 10000000"]),
        (["directions", "find", "grey.onnx", "-n", str(10**20)], ["'-n': it is at most 10000000"]),
        (["directions", "grid", "grey.onnx", "--columns", str(10**20)], ["'--columns': it is at most 1000"]),
        (["grid", "grey.onnx", "--out", "a.gif"], ["--out is a .png, not a.gif"]),
        (["edit", "grey.onnx"], ["say what to change", "there are no directions yet"]),
        (["edit", "grey.onnx", "--direction", "up"], ["NAME=STRENGTH, such as smile=1.5, not 'up'"]),
        (
            ["edit", "grey.onnx", "--direction", "up=nan"],
            ["of --direction up is a finite number that float32 can hold"],
        ),
        (["edit", "grey.onnx", "--direction", "z.3=1e39"], ["that float32 can hold, not '1e39'"]),
        (["edit", "grey.onnx", "--directions", "far.json", "--direction", "far=1e38"], ["latents are finite numbers"]),
        (
            ["edit", "grey.onnx", "--directions", "far.json", "--direction", "far=3e37", "--direction", "z.0=3e38"],
            ["latents are finite numbers"],
        ),
        (["edit", "grey.onnx", "--direction", "up=1"], ["there is no direction 'up'", "no directions yet"]),
        (["edit", "grey.onnx", "--directions", "none.json", "--direction", "up=1"], ["cannot read none.json"]),
        (["edit", "grey.onnx", "--arithmetic", "a-b"], ["written like 0,7,3, not 'a'"]),
        (["edit", "grey.onnx", "--arithmetic", ""], ["written like '3,8 - 5 + 1'"]),
        (["directions"], ["missing command; see 'ganzoo directions --help'"]),
        (["directions", "grid", "grey.onnx"], ["no directions of the latent 'z' (see --on)"]),
        (["directions", "fit", "grey.onnx"], ["either --labels FILE.csv or --attribute-of"]),
        (["directions", "fit", "grey.onnx", "--labels", "none.csv"], ["cannot read none.csv: No such"]),
        (["directions", "fit", "grey.onnx", "--attribute-of", "nothing"], ["is MODULE:FUNCTION, not 'nothing'"]),
        (["directions", "fit", "grey.onnx", "--attribute-of", "no_such:thing"], ["cannot be imported: ModuleNotFound"]),
        (["directions", "fit", "grey.onnx", "--attribute-of", "json:nothing"], ["cannot be imported: AttributeError"]),
        (
            ["directions", "fit", "grey.onnx", "--attribute-of", "json:dumps"],
            ["the function of --attribute-of failed: TypeError"],
        ),
        (["directions", "find", "grey.onnx", "--method", "sefa"], ["reads weights, so it takes a run folder"]),
    ],
)
def test_wrong_arguments(cli: Command, grey: Generator, arguments: list[str], words: list[str]) -> None:
    np.save("other.npy", np.zeros((2, 5)))
    np.savez("other.npz", samples=np.zeros((2, 6)))
    far = {"latent": "z", "vector": [10.0] + [0.0] * 5, "range": [-1, 1]}
    Path("far.json").write_text(json.dumps({"far": far}))
    cli(*arguments).refused(*words)


@pytest.mark.parametrize("command", [("edit", "--direction", "z.0=1"), ("interpolate",), ("grid",)])
def test_a_sample_that_is_too_far_to_draw_all_before_it(cli: Command, command: tuple[str, ...]) -> None:
    Path("wide.onnx").write_bytes(build(Signature((Latent((256,)), Label(3)), Image(1, 8, 8))))
    words = "the sample of number 9,999,999 is out of reach", "of this model it is at most 4,194,303"
    cli(command[0], "wide.onnx", *command[1:], "--keys", "9999999,0").refused(*words)
    if command[0] != "interpolate":
        cli(command[0], "wide.onnx", *command[1:], "-n", 2**50).refused("'-n': it is at most 10000000")


def test_attributes_stay_as_they_are_along_the_way(cli: Command, grey: Generator) -> None:
    """The examples take turns from sample to sample, which would make a film flicker."""
    examples = ((0.0, 1.0), (5.0, -5.0))
    signature = Signature((Latent((6,)), Attributes(2, ("age", "hair"), examples)), Image(1, 8, 8))
    Path("faces.onnx").write_bytes(build(signature))
    faces = Generator("faces.onnx", providers=CPU)
    assert cli("interpolate", "faces.onnx", "--keys", "0,1", "--steps", "4", "--out", "a.png").code == 0
    z = interpolate(faces.latents(2), 4)
    np.testing.assert_array_equal(images("a.png", 5), runtime.pixels(faces(z, [[0.0, 1.0]] * 5), (-1, 1)))
    write_directions(Path("d.json"), {"up": describe(Latent((6,)), np.arange(6.0), "test")}, signature)
    start = ("edit", "faces.onnx", "--directions", "d.json", "--direction", "up=0", "-n", "2")
    assert cli(*start, "--attribute", "age=3", "--out", "b.png").code == 0
    expected = runtime.pixels(faces(faces.latents(2), [[3.0, 1.0], [3.0, -5.0]]), (-1, 1))
    np.testing.assert_array_equal(images("b.png", 2), np.concatenate([expected, expected]))
