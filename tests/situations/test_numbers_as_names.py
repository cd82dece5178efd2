"""Classes and attributes whose names look like numbers: a number that is typed means what is called so."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import Command
from handmade import write_model

from ganzoo import Attributes, Image, Label, Latent, Signature, UserError
from ganzoo.cli.options import conditions
from ganzoo.inference.sampling import draw_inputs
from ganzoo_runtime import Generator

FLOORS = ("1", "2", "3")
"""Names that are numbers, but not those of their own classes."""


@pytest.fixture
def floors(tmp_path: Path) -> Path:
    signature = Signature((Latent((2,)), Label(3, FLOORS)), Image(1, 4, 4))
    return write_model(tmp_path / "generator.onnx", signature)


def asked(names: tuple[str, ...], *texts: str, classes: int = 3) -> object:
    signature = Signature((Latent((2,)), Label(classes, names)), Image(1, 4, 4))
    return conditions(signature, 0, 1.0, texts, None)["label"]


@pytest.mark.parametrize(
    ("names", "text", "index"),
    [
        (FLOORS, "1", 0),
        (FLOORS, "3", 2),
        (FLOORS, "y=2", 1),
        (("2", "0", "1"), "0", 1),
        (("0", "1", "2"), "2", 2),
        (("0", "1", "2"), "02", 2),  # its own number, however it is written
        (("cat", "dog", "ape"), "1", 1),
        (("cat", "dog", "nan"), "1", 1),  # not a number
        ((), "2", 2),
        (("cat", "1", "ape"), "1", 1),
    ],
)
def test_a_name_comes_before_a_number(names: tuple[str, ...], text: str, index: int) -> None:
    assert asked(names, text) == {"y": index}


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (FLOORS, "0"),
        (("2", "0", "1"), "3"),
        (("1990", "2000", "2010"), "1"),
        (("0.5", "1.0", "1.5"), "1"),
        (("007", "008", "009"), "7"),
        (("-1", "0", "1"), "2"),
        (("cat", "0", "ape"), "1"),  # one is enough to be misunderstood
    ],
)
def test_a_number_that_nothing_is_called_is_refused(names: tuple[str, ...], text: str) -> None:
    with pytest.raises(UserError) as caught:
        asked(names, text)
    sentence = str(caught.value)
    assert f"unknown --label {text!r}" in sentence
    for name in names:
        assert repr(name) in sentence


def test_a_thousand_names_are_not_listed() -> None:
    with pytest.raises(UserError) as caught:
        asked(tuple(str(number + 1) for number in range(1000)), "0", classes=1000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "generator.onnx", "-n", 2],
        ["interpolate", "generator.onnx", "--steps", 2, "--out", "a.png"],
        ["edit", "generator.onnx", "--arithmetic", "0 + 1", "--out", "a.png"],
        ["encode", "generator.onnx", "drawing.png", "--optimize", "--steps", 2],
        ["directions", "samples", "generator.onnx", "-n", 2, "--out", "lab"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_understands_the_same(cli: Command, floors: Path, command: list[object]) -> None:
    PIL.Image.new("L", (4, 4)).save("drawing.png")
    cli(*command, "--label", 0).refused("unknown --label '0'", "'1', '2', '3'")
    done = cli(*command, "--label", 1)
    assert done.code == 0, done.err
    cli("grid", "generator.onnx", "--label", 0).refused("unknown --label '0'", "'1', '2', '3'")


def test_the_class_that_is_drawn_is_the_one_that_is_called_so(cli: Command, floors: Path) -> None:
    assert cli("sample", "generator.onnx", "-n", 3, "--label", 2, "--out", "second.npz").code == 0
    with np.load("second.npz") as drawn:
        assert drawn["y"].tolist() == [1, 1, 1]
        # In Python, a whole number is the index, and a text the name.
        file = Generator("generator.onnx")
        for second in (1, "2", ["2", "2", "2"]):
            np.testing.assert_array_equal(file.sample(3, label=second), drawn["samples"])
        with pytest.raises(ValueError, match="unknown label '0': the classes are known by their names alone, '1', '2'"):
            file.sample(3, label="0")


def test_attributes_that_are_called_numbers(cli: Command, tmp_path: Path) -> None:
    signature = Signature((Latent((2,)), Attributes(2, ("1", "2"), name="a")), Image(1, 4, 4))
    file = write_model(tmp_path / "a.onnx", signature)
    cli("sample", file, "--attribute", "0=1").refused("unknown --attribute '0'")
    assert cli("sample", file, "-n", 2, "--attribute", "1=5", "--out", "a.npz").code == 0
    with np.load("a.npz") as drawn:
        assert drawn["a"].tolist() == [[5, 0], [5, 0]]
    model = Generator(file)
    drawing = (  # of the runtime, and of torch
        lambda asked: next(model.stream(1, attributes=asked)).inputs["a"],
        lambda asked: draw_inputs(signature, 1, 0, attributes=asked)[1],
    )
    for drawn_for in drawing:
        assert drawn_for({"1": 5.0}).tolist() == [[5, 0]], "the one that is called 1"
        for index in (0, 1):
            with pytest.raises(ValueError, match=f"no attribute {index}"):
                drawn_for({index: 5.0})


def test_attributes_without_names_go_by_their_index(tmp_path: Path) -> None:
    signature = Signature((Latent((2,)), Attributes(2, name="a")), Image(1, 4, 4))
    model = Generator(write_model(tmp_path / "a.onnx", signature))
    for name in (1, "1"):
        (_, inputs), *_ = model.stream(1, attributes={name: 5.0})
        assert inputs["a"].tolist() == [[0, 5]]
