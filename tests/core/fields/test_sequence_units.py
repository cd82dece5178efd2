"""Series whose channels have units: documents, files and pictures."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ganzoo import Sequence, Signature, UserError
from ganzoo.fields import field_from_json
from ganzoo_runtime import stored, write_csv

FIELD = Sequence(2, 3, (-1, 1), ("temperature", "wind"), units=((-10.0, 30.0), (0.0, 5.0)))
SAMPLES = np.array([[[-1, 0, 1], [1, 0.5, -1]]], np.float32)


def test_samples_are_stored_in_their_units() -> None:
    found = FIELD.stored(SAMPLES)
    assert found.dtype.names == ("temperature", "wind")
    assert found["temperature"].tolist() == [[-10, 10, 30]]
    assert found["wind"].tolist() == [[5, 3.75, 0]]
    assert FIELD.stored(found) is found
    assert stored(SAMPLES, FIELD.to_json())["wind"].dtype == np.float32
    other = Sequence(1, 3, (0, 4), units=((1.0, 2.0),))
    assert other.stored(np.array([[[0, 1, 4]]], np.float32))["channel_0"].tolist() == [[1, 1.25, 2]]
    plain = Sequence(2, 3)
    assert plain.stored(SAMPLES) is SAMPLES
    assert "units" not in plain.to_json()  # what was written before there were units


def test_the_document_is_read_back_and_packed() -> None:
    assert field_from_json(FIELD.to_json()) == FIELD
    assert FIELD.packed(2).units == FIELD.units * 2
    assert FIELD.packed(2).shape == (4, 3)


@pytest.mark.parametrize(
    ("units", "names", "words"),
    [
        (((0, 1),), (), "units, but not of each channel"),
        (((0, 1), (1, 1)), (), "do not run from a lower to a higher number"),
        (((0, 1), (0, float("inf"))), (), "no number"),
        (((0, 1), (0, 1)), ("a", "a"), "one name"),
        (((0, 1), (0, 1)), ("a", ""), "one has none"),
    ],
)
def test_wrong_units_are_refused(units: object, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Sequence(2, 3, names=names, units=units)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [FIELD, Sequence(2, 3, names=("step", "b")), Sequence(2, 3)])
def test_a_csv_has_a_row_for_each_step(field: Sequence, tmp_path: Path) -> None:
    from ganzoo import Label, Latent

    signature = Signature((Latent((2,)), Label(4)), field).to_json()
    many = np.concatenate([SAMPLES, SAMPLES / 2, SAMPLES / 4])
    labels = np.array([3, 1, 0])
    pieces = [(many[:2], {"y": labels[:2]}), (many[2:], {"y": labels[2:]})]
    with write_csv(tmp_path / "a.csv", pieces, 3, signature).open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("sample", "step", "y")]
    assert [(row["sample"], row["step"]) for row in rows] == [(str(i), str(j)) for i in range(3) for j in range(3)]
    assert [int(row["y"]) for row in rows] == labels.repeat(3).tolist()
    held = field.stored(many)
    channels = [held[name] for name in held.dtype.names] if held.dtype.names else list(held.transpose(1, 0, 2))
    assert names == [
        *(held.dtype.names or [{"step": "step_"}.get(each, each) for each in field.names] or ["channel_0", "channel_1"])
    ]
    for name, values in zip(names, channels, strict=True):
        assert np.array_equal(np.array([row[name] for row in rows], np.float32), values.ravel())


def test_real_series_are_drawn_beside() -> None:
    series = np.sin(np.linspace(0, 9, 32))[None, None].repeat(12, 0).repeat(2, 1).astype(np.float32)
    field = Sequence(2, 32, names=("a", "$b"), units=((0.0, 1.0), (5.0, 9.0)))
    alone, beside = field.picture(series), field.picture(series, series[:5], 3)
    assert beside.shape[1] > 1.3 * field.picture(series, None, 3).shape[1]
    assert alone.dtype == beside.dtype == np.uint8
    other = Sequence(2, 32, names=("a", "$b"), units=((0.0, 1.0), (5.0, 90.0)))
    assert not np.array_equal(other.picture(series), alone)  # the units stand in the legend
