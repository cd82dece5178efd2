"""Metrics of tables, against small references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from ganzoo import Column, DatasetConfig, DataSpec, MetricConfig, Points, Table, TensorDataset, UserError
from ganzoo_plugins.metrics.efficacy import MLEfficacy
from ganzoo_plugins.metrics.tables import ColumnPairs, ColumnShapes, DistanceToClosestRecord

TABLE = Table(
    (
        Column("a", (-5, 5), modes=((1, 0, 1.25),), decimals=3),
        Column("b", (-5, 5), modes=((1, 0, 1.25),), decimals=3, missing=True),
        Column("kind", categories=("z", "y", "x")),
    )
)
CONFIG = MetricConfig()


def people(n: int, seed: int, shift: float = 0.0, link: float = 0.9) -> dict[str, Any]:
    random = np.random.Generator(np.random.Philox(seed))
    a = random.normal(shift, 1, n).clip(-5, 5).round(3)
    b = (link * a + random.normal(0, 0.3, n)).clip(-5, 5).round(3)
    kind = np.where(a > 0.5, "z", np.where(a > -0.5, "y", "x"))
    return {"a": a, "b": np.where(random.random(n) < 0.1, np.nan, b), "kind": kind}


class People(TensorDataset[DatasetConfig]):
    def __init__(self, n: int = 400, held: int = 200) -> None:
        self.config = DatasetConfig()
        self.columns = people(n, 0)
        self.test = encoded(people(held, 1))
        super().__init__(DataSpec("people", (TABLE,), n), {"x": encoded(self.columns)})


def encoded(columns: dict[str, Any]) -> torch.Tensor:
    return torch.from_numpy(TABLE.encoded(columns))


def test_column_shapes_are_those_of_scipy() -> None:
    data, drawn = People(), people(300, 2, shift=0.7)
    found = ColumnShapes(CONFIG, data)(encoded(drawn), {})
    scores = []
    for name in ("a", "b"):
        real, other = (each[name][~np.isnan(each[name])] for each in (data.columns, drawn))
        scores.append(1 - ks_2samp(real, other).statistic)
    shares = [[np.mean(each["kind"] == kind) for kind in "xyz"] for each in (data.columns, drawn)]
    scores.append(1 - np.abs(np.subtract(*shares)).sum() / 2)
    assert found["mean"] == pytest.approx(np.mean(scores), abs=1e-6)
    assert found["worst"] == pytest.approx(min(scores), abs=1e-6)
    missing = [np.isnan(each["b"]).mean() for each in (data.columns, drawn)]
    assert found["missing"] == pytest.approx(1 - abs(missing[0] - missing[1]))
    assert ColumnShapes(CONFIG, data)(data.tensors["x"], {}) == {"mean": 1, "worst": 1, "missing": 1}


def test_column_pairs_are_correlations_and_joint_shares() -> None:
    data, drawn = People(), people(300, 2, link=-0.5)
    found = ColumnPairs(CONFIG, data)(encoded(drawn), {})
    correlations, joint = [], {}
    for each in (data.columns, drawn):
        known = ~np.isnan(each["b"])
        correlations.append(np.corrcoef(each["a"][known], each["b"][known])[0, 1])
        for name in ("a", "b"):
            known = ~np.isnan(each[name])
            real = data.columns[name][~np.isnan(data.columns[name])]
            edges = np.linspace(real.min(), real.max(), 11)
            places = np.digitize(each[name][known].clip(real.min(), real.max()), edges[1:-1])
            counts = np.zeros((10, 3))
            np.add.at(counts, (places, ["xyz".index(kind) for kind in each["kind"][known]]), 1)
            joint.setdefault(name, []).append(counts / counts.sum())
    scores = [1 - abs(correlations[0] - correlations[1]) / 2]
    scores += [1 - np.abs(first - second).sum() / 2 for first, second in joint.values()]
    assert found["mean"] == pytest.approx(np.mean(scores), abs=5e-3)  # a value on the edge of a bin
    assert found["worst"] == pytest.approx(min(scores), abs=5e-3)
    assert ColumnPairs(CONFIG, data)(data.tensors["x"], {})["worst"] == 1


def test_copies_are_seen_and_new_rows_are_not() -> None:
    data = People()
    metric = DistanceToClosestRecord(CONFIG, data)
    copies = metric(data.tensors["x"][:150], {})
    new = metric(encoded(people(300, 5)), {})
    assert copies["share"] > 0.7  # half of the training rows are compared with at a time
    assert copies["copies"] == 1
    assert copies["median"] == 0
    assert new["share"] == pytest.approx(0.5, abs=0.06)
    assert new["copies"] < 0.01  # two rows without b may agree in a
    assert metric.reference()["share"] == 0.5
    assert metric.reference()["median"] == pytest.approx(new["median"], rel=0.5)
    near = encoded({"a": [0.0, 0.0], "b": [np.nan, 1.0], "kind": ["y", "y"]})
    rows = TABLE.stored(near.numpy())
    np.testing.assert_allclose(metric._distances(rows, rows), [[0, 1 / 3], [1 / 3, 0]])


def test_efficacy_is_that_of_the_rows_that_are_drawn() -> None:
    data = People()
    metric = MLEfficacy(CONFIG, data)
    real = metric.reference()
    assert set(real) == {"logistic/accuracy", "boosting/accuracy"}
    assert min(real.values()) > 0.95
    good, bad = people(400, 7), people(400, 7)
    bad["kind"] = np.roll(bad["kind"], 1)
    assert metric(encoded(good), {})["logistic/accuracy"] > 0.93
    assert metric(encoded(bad), {})["boosting/accuracy"] < 0.7
    size = len(data)
    sets = [{name: values[:size] for name, values in rows.items()} for rows in (good, bad)]
    each = [metric(encoded(rows), {}) for rows in sets]
    both = {name: np.concatenate([rows[name] for rows in sets]) for name in good}
    assert metric(encoded(both), {}) == pytest.approx({key: (each[0][key] + each[1][key]) / 2 for key in real})
    constant = {**good, "kind": ["z"] * 400}
    share = float(np.mean(TABLE.stored(data.test.numpy())["kind"] == "z"))
    assert metric(encoded(constant), {}) == {"logistic/accuracy": share, "boosting/accuracy": share}


def test_efficacy_of_a_number() -> None:
    data = People()
    data.target = "b"
    metric = MLEfficacy(CONFIG, data)
    assert set(metric.reference()) == {"ridge/r2", "boosting/r2"}
    assert min(metric.reference().values()) > 0.8
    assert metric(encoded(people(400, 7, link=-0.9)), {})["ridge/r2"] < 0


def test_what_cannot_be_compared_is_one_sentence() -> None:
    points = TensorDataset(DataSpec("points", (Points(2),), 10), {"x": torch.zeros(10, 2)})
    with pytest.raises(UserError, match="compares rows of tables, and points holds points"):
        ColumnShapes(CONFIG, points)
    data = People()
    del data.test
    for metric in (MLEfficacy, DistanceToClosestRecord):
        with pytest.raises(UserError, match="held out, and people has none"):
            metric(CONFIG, data)
    assert ColumnShapes(CONFIG, data).reference() == {}
