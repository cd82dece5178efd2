"""Rows of a table: modes, rounding and missing values are in the field, and undone without torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganzoo import Column, Table, UserError
from ganzoo.fields.drawing import bins
from ganzoo_runtime import stored
from ganzoo_runtime.errors import ModelError
from ganzoo_runtime.fields import check_field
from ganzoo_runtime.sinks import write_csv, write_jsonl, write_parquet

MODES = ((0.7, 10.0, 2.0), (0.3, 1000.0, 50.0))
TABLE = Table(
    (
        Column("height", (-5, 1200), modes=MODES, decimals=2),
        Column("count", (0, 1200), modes=MODES, decimals=0),
        Column("age", (0, 1200), modes=MODES, decimals=0, missing=True),
        Column("-kind", categories=("", "=1+1", "-3", "b"), shares=(0.5, 0.2, 0.2, 0.1)),
        Column("plain", (0, 4), decimals=1),
    )
)
ROWS: dict[str, Any] = {
    "height": [9.37, 1003.25, 3.0, 17.5],
    "count": [3, 1100, 10, 812],
    "age": [np.nan, 12, 950, 5],
    "-kind": ["b", "=1+1", "", "-3"],
    "plain": [0.0, 3.9, 0.1, 4.0],
}


def test_rows_come_back_as_they_were() -> None:
    encoded = TABLE.encoded(ROWS)
    assert encoded.dtype == np.float32
    assert encoded.shape == (4, 3 + 3 + 4 + 4 + 1) == (4, *TABLE.shape)
    assert TABLE.fault(encoded) == ""
    read = Table.from_json(json.loads(json.dumps(TABLE.to_json())), "x", TABLE.shape)
    assert read == TABLE
    for rows in (TABLE.stored(encoded), stored(encoded, read.to_json())):
        for name, values in ROWS.items():
            np.testing.assert_array_equal(rows[name], values)
        assert [str(rows.dtype[name]) for name in ("height", "count", "age", "plain")] == [
            "float64",
            "int64",
            "float64",
            "float64",
        ]


def test_numbers_are_normalized_by_a_mode_as_in_the_paper() -> None:
    """Against a float64 reference: alpha = (c - eta_k) / (4 phi_k), beta one-hot, k drawn by its probability."""
    near = Table((Column("a", (-100, 100), modes=((0.25, 0.0, 2.0), (0.75, 3.0, 1.0))),))
    encoded = near.encoded({"a": np.full(20_000, 2.0)})
    density = np.array([0.25 * np.exp(-((2 / 2) ** 2) / 2) / 2, 0.75 * np.exp(-(1**2) / 2) / 1])
    assert encoded[:, 1].mean() == pytest.approx(density[0] / density.sum(), abs=0.015)
    np.testing.assert_allclose(encoded[encoded[:, 1] == 1, 0], (2.0 - 0.0) / 8)
    np.testing.assert_allclose(encoded[encoded[:, 2] == 1, 0], (2.0 - 3.0) / 4)
    far = near.encoded({"a": [7.9, 90.0]})
    assert far[0].tolist() == [np.float32(7.9 / 8), 1, 0]  # 4.9 deviations from the other mode
    assert far[1].tolist() == [1, 1, 0]  # clipped to the mode that it is fewest deviations from
    assert np.array_equal(encoded, near.encoded({"a": np.full(20_000, 2.0)}))


def test_what_a_network_returns_is_held_to_the_ranges() -> None:
    values = np.full((1, *TABLE.shape), 0.4, np.float32)
    values[0, 0], values[0, 3], values[0, 3 + 2] = 30.0, -30.0, 0.5
    (row,) = TABLE.stored(values)
    assert row["height"] == 18.0  # the first of equal modes, 4 deviations from its mean
    assert row["count"] == 800
    assert TABLE.fault(values).startswith("in the column 'height' values")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"modes": []}, "has no modes"),
        ({"modes": [[1, 0, 0]]}, "no weight or no width"),
        ({"modes": [[1, 0]]}, "no list of 3 numbers"),
        ({"modes": [["a", 0, 1]]}, "has what is no number"),
        ({"decimals": -1}, "rounded to 0 to 15 decimals"),
        ({"decimals": True}, "rounded to 0 to 15 decimals"),
        ({"missing": True}, "cannot tell missing values"),
        ({"missing": [], "modes": [[1, 0, 1]]}, "cannot tell missing values"),
        ({"range": None, "categories": ["x"], "shares": [0]}, "are none of a whole"),
        ({"range": None, "categories": ["x"], "shares": [0.5, 0.5]}, "no list of 1 numbers"),
    ],
)
def test_what_a_file_may_not_say_of_a_column(column: dict[str, Any], words: str) -> None:
    known = {"name": "a", "range": [0, 1], **column}
    if known["range"] is None:
        del known["range"]
    field = {"kind": "table", "name": "x", "dtype": "float32", "shape": [1], "columns": [known]}
    with pytest.raises(ModelError, match=words):
        check_field(field)


def test_columns_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="the shares of the column 'k' are none of a whole"):
        Table((Column("k", categories=("a",), shares=(-1.0,)),))
    with pytest.raises(UserError, match=r"'count' has numbers outside of 0\.\.1200"):
        TABLE.encoded({**ROWS, "count": [1, 2, 3, np.nan]})


def test_blocks_cover_the_row() -> None:
    covered = [place for part, _ in TABLE.blocks() for place in range(part.start, part.stop)]
    assert covered == list(range(TABLE.shape[0]))
    assert [part.stop - part.start for part, choice in TABLE.blocks() if choice] == [2, 2, 3, 4]
    one = Table((Column("a", categories=("x",)), Column("b", (0, 1), modes=((1, 0, 1),))))
    assert [choice for _, choice in one.blocks()] == [True, False, True]
    assert replace(one, columns=one.columns[1:]).packed(2).shape == (4,)


def test_files_of_rows(tmp_path: Path) -> None:
    attributes = {"kind": "attributes", "name": "y", "names": ["-kind=b"]}
    signature = {"inputs": [attributes], "output": TABLE.to_json()}
    encoded = TABLE.encoded(ROWS)
    pieces = [(encoded[:1], {"y": np.zeros((1, 1))}), (encoded[1:], {"y": np.zeros((3, 1))})]
    write_csv(tmp_path / "a.csv", pieces, 4, signature)
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "height,count,age,'-kind,plain",
        "9.37,3,,b,0.0",
        "1003.25,1100,12,'=1+1,3.9",
        "3.0,10,950,,0.1",
        "17.5,812,5,-3,4.0",
    ]
    write_jsonl(tmp_path / "a.jsonl", pieces, 4, signature)
    first, second, *_ = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    assert first == {"height": 9.37, "count": 3, "age": None, "-kind": "b", "plain": 0.0}
    assert (second["age"], second["-kind"]) == (12, "=1+1")
    assert isinstance(second["age"], int)
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "a.parquet", pieces, 4, signature)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table["age"].to_pylist() == [None, 12, 950, 5]
    assert [str(table.schema.field(name).type) for name in table.column_names] == [
        "double",
        "int64",
        "int64",
        "string",
        "double",
    ]


def test_a_picture_of_missing_numbers() -> None:
    picture = TABLE.picture(TABLE.encoded(ROWS), TABLE.encoded(ROWS))
    assert picture.dtype == np.uint8
    nothing = {**ROWS, "age": [np.nan] * 4}
    assert TABLE.picture(TABLE.encoded(nothing)).std() > 0


@pytest.mark.parametrize(("low", "high", "step"), [(4.3, 7.9, 0.1), (0, 999, 1), (-3, 3, 1), (0.001, 0.0471, 1e-4)])
def test_bins_of_rounded_numbers_hold_as_many_of_them_each(low: float, high: float, step: float) -> None:
    numbers = np.round(np.arange(low, high + step / 2, step), 6)
    counts, edges = np.histogram(numbers, bins(low, high, step))
    assert counts.sum() == len(numbers)
    assert len({*counts[:-1]}) == 1
    assert len(edges) <= 43
    assert len(bins(2.0, 2.0, step)) == len(bins(0.0, 1.0)) == 41
