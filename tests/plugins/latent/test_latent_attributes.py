"""Edits of models with attributes, and with a second latent."""

from pathlib import Path

import numpy as np
import pytest
import torch
from built import CPU, build
from conftest import Command
from test_latent import GREY, images
from torch import Tensor

import ganzoo_runtime as runtime
from ganzoo import Attributes, Image, Latent, Signature
from ganzoo.gan.networks import Generator as Network
from ganzoo.inference.sampling import TorchSampler
from ganzoo_plugins.latent.directions import describe, write_directions
from ganzoo_plugins.latent.editing import Editor
from ganzoo_runtime import Generator, interpolate

EXAMPLES = ((0.0, 1.0), (5.0, -5.0))
CODES = Signature(
    (Latent((6,)), Attributes(2, ("age", "hair"), EXAMPLES), Latent((3,), "uniform", name="c")), Image(1, 8, 8)
)

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator:
    monkeypatch.chdir(tmp_path)
    Path("codes.onnx").write_bytes(build(CODES))
    return Generator("codes.onnx", providers=CPU)


def test_attributes_are_edited(cli: Command, faces: Generator) -> None:
    z, c = faces.latents(2), faces.latents(2, name="c")
    assert cli("edit", "codes.onnx", "-n", "2", "--to", "age=3", "--out", "a.png").code == 0
    before, after = (faces(z, rows, c) for rows in (EXAMPLES, [[3.0, 1.0], [3.0, -5.0]]))
    np.testing.assert_array_equal(images("a.png", 2), runtime.pixels(np.concatenate([before, after]), (-1, 1)))
    # With what all samples have, and along a direction at the same time.
    both = ("--attribute", "hair=2", "--to", "age=3", "--to", "hair=-1", "--direction", "z.4=2.5", "-n", "1")
    assert cli("edit", "codes.onnx", *both, "--out", "b.png").code == 0
    moved = z[:1] + np.float32(2.5) * np.eye(6, dtype=np.float32)[4]
    expected = np.concatenate([faces(z[:1], [[0.0, 2.0]], c[:1]), faces(moved, [[3.0, -1.0]], c[:1])])
    np.testing.assert_array_equal(images("b.png", 1), runtime.pixels(expected, (-1, 1)))


def test_a_way_between_attributes(cli: Command, faces: Generator) -> None:
    z, c = faces.latents(2)[1:], faces.latents(2, name="c")[1:]
    start = ("interpolate", "codes.onnx", "--to", "age=9", "--steps", "4")
    assert cli(*start, "--keys", "1", "--out", "a.png").code == 0
    rows = [[age, -5.0] for age in (5.0, 6.0, 7.0, 8.0, 9.0)]
    expected = faces(np.repeat(z, 5, axis=0), rows, np.repeat(c, 5, axis=0))
    np.testing.assert_array_equal(images("a.png", 5), runtime.pixels(expected, (-1, 1)))
    # Of several samples, the latents go their way meanwhile; the codes are those of the first.
    assert cli(*start, "--keys", "1,0,2", "--out", "b.png").code == 0
    path = interpolate(faces.latents(3)[[1, 0, 2]], 4)
    rows = [[age, -5.0] for age in np.linspace(5, 9, 9)]
    expected = runtime.pixels(faces(path, rows, np.repeat(c, 9, axis=0)), (-1, 1))
    np.testing.assert_array_equal(images("b.png", 5), np.concatenate([expected[:5], expected[4:]]))


def test_a_second_latent_is_edited_and_the_first_is_held(cli: Command, faces: Generator) -> None:
    z, c = faces.latents(3), faces.latents(3, name="c")
    assert cli("interpolate", "codes.onnx", "--on", "c", "--keys", "0,2", "--steps", "4", "--out", "a.png").code == 0
    path = interpolate(c[[0, 2]], 4, spherical=False)  # it is uniform
    expected = faces(np.repeat(z[:1], 5, axis=0), [EXAMPLES[0]] * 5, path)
    np.testing.assert_array_equal(images("a.png", 5), runtime.pixels(expected, (-1, 1)))
    # By a single number, by a direction of a file that has some of both, and from latents in a file.
    write_directions(
        Path("d.json"),
        {
            "up": describe(Latent((3,), "uniform", name="c"), np.array([3.0, 0.0, 4.0]), "test"),
            "other": describe(Latent((6,)), np.arange(6.0), "test"),
        },
        CODES,
    )
    np.save("c.npy", c)
    for way, vector in ((("--direction", "c.1=0.5"), [0, 0.5, 0]), (("--direction", "up=2"), [1.2, 0, 1.6])):
        start = ("edit", "codes.onnx", "--on", "c", "--directions", "d.json", "--latent", "c.npy", *way)
        assert cli(*start, "--out", "b.npz").code == 0
        after = c + np.array(vector, np.float32)
        with np.load("b.npz") as found:
            np.testing.assert_allclose(found["latents"], after, atol=1e-6)
            expected = runtime.pixels(faces(z, [EXAMPLES[0], EXAMPLES[1], EXAMPLES[0]], found["latents"]), (-1, 1))
            np.testing.assert_array_equal(found["pixels"], expected)


def test_a_network_in_torch_is_edited_like_its_file(faces: Generator) -> None:
    class Faces(Network):
        def __init__(self) -> None:
            super().__init__(CODES)

        def forward(self, z: Tensor, y: Tensor, c: Tensor) -> Tensor:
            return torch.from_numpy(faces(z.numpy(), y.numpy(), c.numpy()))

    asked = {"seed": 3, "truncation": 0.7, "label": None, "attributes": {"hair": 2.0}}
    metadata = {"signature": CODES.to_json()}
    drawn = []
    for sampler in (TorchSampler(Faces(), metadata), faces):
        editor = Editor(sampler, asked, "c")
        codes = editor.latents([4, 1])
        np.testing.assert_array_equal(codes, 0.7 * faces.latents(5, 3, "c")[[4, 1]])
        attributes = editor.attributes([4, 1], {"age": -1.0})
        np.testing.assert_array_equal(attributes, [[-1.0, 2.0], [-1.0, 2.0]])
        drawn.append(editor.draw(codes, [4, 1], attributes=attributes))
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["edit", "codes.onnx", "--to", "age"], ["--to is NAME=VALUE, not 'age'"]),
        (["edit", "codes.onnx", "--to", "ages=1"], ["unknown --to 'ages'; did you mean 'age'?"]),
        (["edit", "codes.onnx", "--to", "age=inf"], ["--to age is a finite number"]),
        (["interpolate", "codes.onnx", "--to", "age=1", "--to", "age=2"], ["--to gives age twice"]),
        (["edit", "grey.onnx", "--to", "age=1"], ["this model has labels: choose a class with --label"]),
        (["edit", "codes.onnx", "--on", "d", "--to", "age=1"], ["there is no latent 'd'; there is: c, z"]),
        (["interpolate", "grey.onnx", "--on", "c"], ["there is no latent 'c'; there is: z"]),
        (["grid", "codes.onnx", "--on", "d"], ["there is no latent 'd'; there is: c, z"]),
        (["directions", "find", "codes.onnx", "--on", "d"], ["there is no latent 'd'; there is: c, z"]),
        (["directions", "grid", "codes.onnx", "--on", "c"], ["no directions of the latent 'c' (see --on)"]),
        (["edit", "codes.onnx", "--direction", "c.1=1"], ["'c.1' is a direction of 'c'", "give --on c"]),
        (["edit", "codes.onnx", "--direction", "z.6=1"], ["no direction 'z.6'", "which has 6 numbers"]),
        (["edit", "codes.onnx", "--on", "c", "--latent", "z.npy", "--to", "age=1"], ["have the shape [3]"]),
        (["interpolate", "codes.onnx", "--keys", "3"], ["takes at least two samples"]),
    ],
)
def test_what_cannot_be_edited(cli: Command, faces: Generator, arguments: list[str], words: list[str]) -> None:
    Path("grey.onnx").write_bytes(build(GREY))
    np.save("z.npy", np.zeros((2, 6)))
    cli(*arguments).refused(*words)
