"""Waves beside their formula; one's own series: windows, gaps, classes, kinds of files, and what is refused."""

import logging

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ganzoo import UserError
from ganzoo_plugins.datasets.csv_files import read_columns
from ganzoo_plugins.datasets.series import Series, SeriesConfig, Waves, WavesConfig


def everything(dataset):
    batch = dataset.batch(torch.arange(len(dataset)), torch.Generator())
    assert not dataset.spec.fault(batch, len(dataset))
    assert not dataset.spec.sample.fault(batch["x"].numpy())
    return batch


def in_units(dataset):
    """The windows as they were, float32 [N, C, L]."""
    found = dataset.spec.sample.stored(everything(dataset)["x"].numpy())
    return np.stack([found[name] for name in found.dtype.names], 1)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def series(path, **settings):
    return Series(SeriesConfig(path=path, **settings))


# --- waves --------------------------------------------------------------------------------------------------------


def test_waves_are_sums_of_their_sines():
    waves = Waves(WavesConfig(length=10, channels=2, sines=3, size=20, noise=0, frequency=(1, 4)))
    a, f, p = (part.double().numpy() for part in (waves.amplitude, waves.frequency, waves.phase))
    t = np.arange(10) / 10
    expected = sum(a[..., k, None] * np.sin(2 * np.pi * (f[..., k, None] * t + p[..., k, None])) for k in range(3))
    np.testing.assert_allclose(in_units(waves), expected, atol=1e-5)
    assert everything(waves)["x"].abs().max() == 1
    assert ((a >= 0.3) & (a <= 1)).all()
    noisy = Waves(WavesConfig(length=10, channels=2, sines=3, size=20, noise=0.5, frequency=(1, 4)))
    assert (in_units(noisy) - expected).std() == pytest.approx(0.5, rel=0.15)


def test_classes_of_waves_are_parts_of_the_frequencies():
    waves = Waves(WavesConfig(classes=3, frequency=(1, 7), size=300))
    labels = everything(waves)["y"]
    for label, (low, high) in enumerate(((1, 3), (3, 5), (5, 7))):
        of_class = waves.frequency[labels == label]
        assert len(of_class) > 60
        assert ((of_class >= low) & (of_class <= high)).all()
    again = Waves(WavesConfig(classes=3, frequency=(1, 7), size=300))
    assert torch.equal(again.tensors["x"], waves.tensors["x"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"frequency": (5, 2)}, "lowest and a highest"),
        ({"length": 8, "frequency": (1, 6)}, "cannot show 6 periods"),
        ({"amplitude": (0, 1)}, "above 0"),
        ({"size": 10_000_000, "length": 1000}, "more than"),
    ],
)
def test_waves_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        WavesConfig(**settings)


# --- one's own ----------------------------------------------------------------------------------------------------


def test_windows_are_those_of_the_columns(tmp_path):
    rows = np.random.Generator(np.random.Philox(0)).normal(20, 5, (40, 2)).round(3)
    text = "\ufeffa,b\r\n" + "".join(f"{a}, {b}\r\n" for a, b in rows)
    found = series(write(tmp_path / "s.csv", text), length=7, stride=5)
    assert found.spec.sample.names == ("a", "b")
    assert found.spec.sample.units == tuple(zip(rows.min(0), rows.max(0), strict=True))
    expected = [rows[start : start + 7].T for start in range(0, 34, 5)]
    np.testing.assert_allclose(in_units(found), expected, atol=1e-4)
    only = series(tmp_path / "s.csv", length=7, stride=5, columns=("b",))
    np.testing.assert_allclose(in_units(only)[:, 0], np.array(expected)[:, 1], atol=1e-4)


def test_no_window_reaches_over_a_gap(tmp_path, caplog):
    cells = [str(value) for value in range(30)]
    cells[9] = "NA"
    cells[20] = ""
    text = "t,v\n" + "".join(f"{t},{cell}\n" for t, cell in enumerate(cells))
    with caplog.at_level(logging.WARNING, "ganzoo"):
        found = series(write(tmp_path / "s.csv", text), length=9, columns=("v",))
    starts = in_units(found)[:, 0, 0].round().astype(int).tolist()
    assert starts == [0, 10, 11, 21]
    assert "2 of 30 rows are in no window: 2 have a missing value" in caplog.text
    with pytest.raises(UserError, match="10 rows in succession without a gap at most, and a window has 11"):
        series(tmp_path / "s.csv", length=11, columns=("v",))


def test_a_jump_in_time_is_a_gap_and_disorder_is_refused(tmp_path):
    days = [*range(1, 11), *range(14, 24)]
    text = "day,v\n" + "".join(f"2026-03-{day:02d},{day}\n" for day in days)
    found = series(write(tmp_path / "s.csv", text), length=8, time="day")
    assert found.spec.sample.names == ("v",)
    assert in_units(found)[:, 0, 0].round().tolist() == [1, 2, 3, 14, 15, 16]
    numbers = "t,v\n" + "".join(f"{t},{t % 7}\n" for t in (1, 2, 3, 5, 4))
    with pytest.raises(UserError, match=r"line 6 of .*: its t is not after .*; sort the rows"):
        series(write(tmp_path / "t.csv", numbers), length=2, time="t")
    with pytest.raises(UserError, match=r"line 3 of .*: its t is 'soon', neither a number nor a date"):
        series(write(tmp_path / "u.csv", "t,v\n1,2\nsoon,3\n"), length=2, time="t")


def test_groups_and_classes_end_windows(tmp_path):
    rows = (
        [("x", "up", i) for i in range(6)] + [("y", "up", i) for i in range(4)] + [("y", "down", -i) for i in range(5)]
    )
    text = "who,class,v\n" + "".join(f"{who},{label},{v}\n" for who, label, v in rows)
    found = series(write(tmp_path / "s.csv", text), length=4, group="who", label="class")
    assert in_units(found)[:, 0, 0].round().tolist() == [0, 1, 2, 0, 0, -1]
    assert everything(found)["y"].tolist() == [1, 1, 1, 1, 0, 0]
    assert found.spec["y"].names == ("down", "up")
    with pytest.raises(UserError, match=r"line 3 of .*no class"):
        series(write(tmp_path / "t.csv", "class,v\na,1\n,2\n"), length=2, label="class")


@pytest.mark.parametrize(
    ("array", "starts"),
    [
        (np.arange(10.0), [0, 3]),
        (np.stack([np.arange(10), -np.arange(10)], 1), [0, 3]),
        (np.arange(20.0).reshape(2, 1, 10), [0, 3, 10, 13]),
    ],
)
def test_arrays_are_read(array, starts, tmp_path):
    np.save(tmp_path / "s.npy", array)
    found = series(tmp_path / "s.npy", length=6, stride=3)
    assert in_units(found)[:, 0, 0].round().tolist() == starts
    assert found.spec.sample.names[0] == "channel_0"


def test_parquet_is_read(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"a": np.arange(9.0), "b": [1, 2, None, 4, 5, 6, 7, 8, 9], "c": list("xxxxxyyyy")})
    parquet.write_table(table, tmp_path / "s.parquet")
    found = series(tmp_path / "s.parquet", length=2, label="c")
    assert in_units(found)[:, 1, 0].round().tolist() == [1, 4, 6, 7, 8]
    with pytest.raises(UserError, match=r"row 1 of .*: c is 'x', which is not a number"):
        series(tmp_path / "s.parquet", length=2)
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        series(write(tmp_path / "t.parquet", "a,b\n1,2\n"), length=2)


def test_samples_written_as_csv_are_data_again(tmp_path):
    from ganzoo import Latent, Signature
    from ganzoo_runtime import write_csv

    waves = Waves(WavesConfig(length=8, channels=2, size=5, frequency=(1, 3)))
    signature = Signature((Latent((2,)),), waves.spec.sample).to_json()
    write_csv(tmp_path / "s.csv", [(waves.tensors["x"].numpy(), {})], 5, signature)
    found = series(tmp_path / "s.csv", length=8, group="sample", time="step")
    np.testing.assert_allclose(in_units(found), in_units(waves), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has to name the columns"),
        ("a,b\n", "no rows"),
        ("1,2\n3,4\n", "has to name the columns, and here it has numbers alone"),
        ("a,a\n1,2\n3,4\n", "each by a name of its own"),
        ("a;b\n1;2\n", "separated by ';'"),
        ("a,b\n1,2\n3\n", "line 3 of .*: it has 1 column, the first line 2"),
        ("a,b\n1,=1+2\n", r"line 2 of .*: b is '=1\+2', which is not a number"),
        ("a,b\n1,Bern\n", "b is 'Bern', which is not a number to learn from; correct it or leave the column out"),
        ("a,b\n1,inf\n", "b is 'inf'"),
        ("a,b\n1,1_000\n", "b is '1_000'"),
        ("a,b\n1,5\n2,5\n", "'b' of .* is 5 everywhere"),
        ("a,b\n1,\n2,\n", "'b' of .* has no values"),
        ("a,b\n1,1e9\n2,1000000001\n", "float32 cannot tell apart"),
    ],
)
def test_what_is_no_table_of_series_is_one_sentence(text, words, tmp_path):
    with pytest.raises(UserError, match=words) as caught:
        series(write(tmp_path / "s.csv", text), length=2)
    assert "\n" not in str(caught.value)


def test_other_faults_of_files_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="is not UTF-8 text"):
        series(write(tmp_path / "s.csv", "größe\n1\n2\n", "latin-1"), length=2)
    with pytest.raises(UserError, match=r"cannot read .*No such file"):
        series(tmp_path / "none.csv", length=2)
    with pytest.raises(UserError, match="has no column 'c'; it has 'a', 'b'"):
        series(write(tmp_path / "t.csv", "a,b\n1,2\n2,3\n"), length=2, columns=("c",))
    np.save(tmp_path / "t.npy", np.zeros((2, 2, 2, 2)))
    with pytest.raises(UserError, match="no array of series"):
        series(tmp_path / "t.npy", length=2)
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match="no arrays can be read"):
        series(tmp_path / "o.npy", length=2)


def test_an_empty_line_of_one_column_is_a_gap(tmp_path, caplog):
    text = "a\n\n" + "".join(f"{v}\n" * (v != 5) + "\n" * (v == 5) for v in range(10)) + "\n\n"
    with caplog.at_level(logging.WARNING, "ganzoo"):
        found = series(write(tmp_path / "s.csv", text), length=3)
    assert in_units(found)[:, 0, 0].round().tolist() == [0, 1, 2, 6, 7]
    assert "2 have a missing value" in caplog.text


def test_nested_columns_are_left_out_or_refused(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"a": np.arange(9.0), "b": [[1, 2]] * 9, "c": [{"x": 1}] * 9, "d": [b"x"] * 9})
    parquet.write_table(table, tmp_path / "s.parquet")
    assert len(series(tmp_path / "s.parquet", length=2, columns=("a",))) == 8
    columns = read_columns(tmp_path / "s.parquet")
    for name, kind in (("b", "list<"), ("c", "struct<"), ("d", "binary")):
        with pytest.raises(UserError, match=f"^the column '{name}' of .* has {kind}.*, neither numbers nor texts"):
            columns.texts(name)
    parquet.write_table(arrow.table([[1, 2], [3, 4]], names=["a", " a"]), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"^\S+ has two columns of one name"):
        read_columns(tmp_path / "t.parquet")


def test_columns_keep_texts_and_lines(tmp_path):
    columns = read_columns(write(tmp_path / "t.csv", 'name,n\n"a,\nb ",1\n\n c ,null\n'))
    assert columns.texts("name") == ["a,\nb", "c"]
    assert columns.where(1).startswith("line 5 of")
    assert np.isnan(columns.numbers("n")).tolist() == [False, True]
