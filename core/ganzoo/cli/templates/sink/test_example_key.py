"""Tests of the sink."""

from pathlib import Path

import numpy as np
from example_package.example_key import example_key
from ganzoo import Label, Latent, Points, Signature
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("sink:example-name/example_key")


def test_a_row_is_what_a_sample_was_drawn_for_and_its_numbers(tmp_path: Path) -> None:
    signature = Signature((Latent((4,)), Label(3)), Points(2)).to_json()
    inputs = {"z": np.zeros((2, 4), np.float32), "y": np.array([2, 0])}
    piece = (np.array([[0.5, 1], [2, 3]], np.float32), inputs)
    written = example_key(tmp_path / "samples.example_key", [piece, piece], 4, signature)
    lines = written.read_text().splitlines()
    assert lines[0].startswith("y_0,")
    assert lines[1:] == ["2,0.5,1.0", "0,2.0,3.0"] * 2
