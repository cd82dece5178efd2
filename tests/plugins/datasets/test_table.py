"""Tables of one's own and those that scikit-learn ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command

from ganzoo import UserError
from ganzoo_plugins.datasets.table import Diabetes, Iris, RowsConfig, TableFile, TableFileConfig, mixture

LINES = [
    f"{20 + i},{'' if i % 4 == 1 else i * 1.25},{('yes', 'no')[i % 2]},{i % 3},{('Köln', '=1+1', '')[i % 3]},{i:03}"
    for i in range(20)
]
TEXT = "\n".join(["age,score,member,class,town,id", *LINES, ""])


def table(folder: Path, text: str | bytes = TEXT, name: str = "a.csv", **settings: Any) -> TableFile:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return TableFile(TableFileConfig(path=path, **settings))


def test_kinds_of_columns_are_found(tmp_path: Path) -> None:
    data = table(tmp_path, held_out=0.25, split_seed=3)
    columns = {column.name: column for column in data.spec.sample.columns}
    assert (columns["age"].range, columns["age"].decimals, columns["age"].missing) == ((20, 39), 0, False)
    assert (columns["score"].decimals, columns["score"].missing) == (2, True)
    assert columns["member"].categories == ("no", "yes")
    assert columns["class"].categories == ("0", "1", "2")
    assert columns["town"].categories == ("", "=1+1", "Köln")
    assert sum(columns["town"].shares) == pytest.approx(1, abs=1e-4)
    assert (len(data), len(data.test), data.target) == (15, 5, "id")
    rows = np.concatenate([data.spec.sample.stored(part.numpy()) for part in (data.tensors["x"], data.test)])
    assert sorted(rows["age"].tolist()) == list(range(20, 40))
    by_age = {row["age"]: row for row in rows}
    assert np.isnan(by_age[21]["score"])
    assert (by_age[27]["score"], by_age[22]["score"]) == (8.75, 2.5)
    assert (by_age[21]["town"], by_age[22]["town"], by_age[21]["member"]) == ("=1+1", "", "no")


def test_kinds_are_overridden(tmp_path: Path) -> None:
    kinds = {"class": "integer", "id": "drop", "age": "category"}
    data = table(tmp_path, kinds=kinds, target="member")
    columns = {column.name: column for column in data.spec.sample.columns}
    assert "id" not in columns
    assert columns["class"].range == (0, 2)
    assert len(columns["age"].categories) == 20
    assert data.target == "member"


def test_an_apostrophe_before_a_formula_is_taken_away(tmp_path: Path) -> None:
    data = table(tmp_path, TEXT.replace("=1+1", "'=1+1").replace("town", "'@town"))
    assert data.spec.sample.columns[4].name == "@town"
    assert data.spec.sample.columns[4].categories == ("", "=1+1", "Köln")


def test_codes_are_no_numbers(tmp_path: Path) -> None:
    text = "\n".join(["zip,n", *(f"{i:05},{i}" for i in range(990, 1020))])
    assert table(tmp_path, text).spec.sample.columns[0].categories[0] == "00990"
    assert table(tmp_path, text, kinds={"zip": "integer"}).spec.sample.columns[0].range == (990, 1019)


def test_an_empty_line_of_one_column_is_a_missing_value(tmp_path: Path) -> None:
    data = table(tmp_path, "\n".join(["a", *(str(i * i) if i % 5 else "" for i in range(30)), "7", "", ""]), held_out=0)
    assert len(data) == 31
    assert int(np.isnan(data.spec.sample.stored(data.tensors["x"].numpy())["a"]).sum()) == 6


def test_a_few_outliers_are_learned_at_a_distance(tmp_path: Path) -> None:
    text = "\n".join(["gain", *("0" for _ in range(500)), *(str(1000 + i) for i in range(12)), ""])
    assert table(tmp_path, text, held_out=0).spec.sample.columns[0].range == (0, 1011)


def test_one_column_is_enough(tmp_path: Path) -> None:
    data = table(tmp_path, "\n".join(["a", *(str(i * i) for i in range(30))]))
    assert data.spec.sample.describe() == "rows of 1 column"


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    ages: list[float | None] = [None, *map(float, range(1, 20))]
    written = arrow.table({"age": ages, "kind": ["a", "b"] * 10, "is": [True, False] * 10, "l": [[1]] * 20})
    parquet.write_table(written, tmp_path / "a.parquet")
    data = TableFile(TableFileConfig(path=tmp_path / "a.parquet", kinds={"l": "drop"}))
    age, kind, yes = data.spec.sample.columns
    assert (age.range, age.decimals, age.missing) == ((1, 19), 0, True)
    assert (kind.categories, yes.categories) == (("a", "b"), ("False", "True"))


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("", {}, "has to name the columns"),
        ("a,b\n", {}, "no rows below its first line"),
        ("a,a\n1,2\n", {}, "by a name of its own"),
        ("a;b\n1;2\n", {}, "separated by ';'"),
        (TEXT.replace("\n25,", "\n25,7,", 1), {}, "line 7 of .*: it has 7 columns, the first line 6"),
        (TEXT.encode("latin-1", "ignore"), {}, "line 2 of .* is not UTF-8 text"),
        ("a,b\n" + "1,2\n" * 4, {}, r"/a\.csv has 4 rows and 2 columns; .* at least 10 rows"),
        (TEXT, {"kinds": {"town": "number"}}, "line 2 of .*: town is 'Köln', which is not a number up to 1e37"),
        (TEXT, {"kinds": {"score": "integer"}}, "line 4 of .*: score is 2.5, which is no whole number"),
        (TEXT, {"kinds": {"agee": "drop"}}, "has no column 'agee'"),
        (TEXT, {"target": "agee"}, "has no column 'agee'"),
        (TEXT, {"target": "id", "kinds": {"id": "drop"}}, "is the target, and cannot be dropped"),
        (TEXT, {"kinds": dict.fromkeys(["age", "score", "member", "class", "town", "id"], "drop")}, "no column left"),
        (TEXT.replace("\n29,", "\ninf,"), {}, "line 11 .* age is 'inf', which is not a number up to 1e37; .*age=drop"),
        (TEXT.replace("\n29,", "\n1e300,"), {}, "line 11 of .*: age is '1e300', which is not a number"),
        (TEXT.replace("\n29,", "\n?,"), {"max_categories": 5}, r"20 different texts, .*'\?' in line 11 .*age=drop"),
        (TEXT.replace("\n29,", "\n029,"), {"max_categories": 5}, ".*'029' in line 11 .* begins with 0"),
        ("a\n" + "\n".join(map(str, range(40))) + "\n1e30\n", {}, r"'a' has numbers from 0 to 1e\+30, most of"),
        ("=a,'=a\n" + "1,2\n" * 20, {}, "two columns of one name, but for an apostrophe"),
        ("a,b\n" + ",1\n" * 20, {}, "the column 'a' is empty; leave the column out"),
        ("a,b\n" + "5,1\n" * 20, {"kinds": {"a": "number"}}, "has one number alone"),
        ("a,b\n" + '"x\ny",1\n' * 20, {}, "cannot be the name of a category"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_learned_from_is_one_sentence(
    text: str | bytes, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        table(tmp_path, text, **settings)
    assert "\n" not in str(caught.value)


def test_a_date_is_a_text(tmp_path: Path, cli: Command) -> None:
    path = tmp_path / "dates.csv"
    path.write_text("\n".join(["day,x", *(f"2026-{1 + i // 28:02}-{1 + i % 28:02},{i}" for i in range(200))]))
    cli("train", "-p", "ctgan", "--data", "table", "--set", f"data.path={path}", "--dry-run").refused(
        "the column 'day' has 200 different texts, more than data.max_categories (100), and '2026-01-01' in line 2"
    )


def test_bundled_tables() -> None:
    iris = Iris(RowsConfig())
    assert (len(iris), len(iris.test), iris.target) == (120, 30, "species")
    assert iris.spec.sample.columns[-1].categories == ("setosa", "versicolor", "virginica")
    rows = np.concatenate([iris.spec.sample.stored(part.numpy()) for part in (iris.tensors["x"], iris.test)])
    from sklearn.datasets import load_iris

    expected = load_iris()["data"]
    found = np.stack([rows[column.name] for column in iris.spec.sample.columns[:4]], 1)
    assert np.array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])
    assert iris.spec.sample == Iris(RowsConfig()).spec.sample
    assert issubclass(Diabetes, type(iris).__mro__[1])


def test_a_mixture_finds_the_modes_that_there_are() -> None:
    random = np.random.Generator(np.random.Philox(0))
    values = np.concatenate([random.normal(1e6, 10, 700), random.normal(1e6 + 500, 50, 300)])
    modes = sorted(mixture(values, 10), key=lambda mode: mode[1])
    assert sum(weight for weight, _, _ in modes) == pytest.approx(1, abs=0.02)
    share = sum(weight for weight, mean, _ in modes if mean < 1e6 + 100)
    assert share == pytest.approx(0.7, abs=0.02)
    assert all(width > 0 for _, _, width in modes)
    assert mixture(np.array([1.0, 2.0] * 10), 10)


def test_few_rows_have_few_modes(tmp_path: Path) -> None:
    def modes(rows: int) -> int:
        values = np.random.Generator(np.random.Philox(1)).normal([[-50], [0], [50]], 1, (3, rows // 3)).ravel()
        text = "\n".join(["a", *(f"{value:.3f}" for value in values), ""])
        return len(table(tmp_path, text, held_out=0).spec.sample.columns[0].modes)

    assert (modes(990), modes(1200), modes(1800)) == (1, 2, 3)
