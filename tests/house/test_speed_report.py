"""The report of benchmarks/speed.py: results are kept, what fell is named, the table in the docs is theirs."""

import json
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def report() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield import_module("training_speed.report")


def run(ratio: float, commit: str = "a", kind: str = "x", case: str = "fc", place: str = "cpu 1") -> dict[str, Any]:
    figures = {"images_per_second": 12.0, "ratio": ratio, "ratio_quartiles": [ratio, ratio], "share": 0.5, "peak_mb": 3}
    sides = {"textbook": figures | {"ratio": 1.0}, "ganzoo": figures, "ganzoo bf16": {"skipped": "why"}}
    return {
        "machine": {"kind": kind, "python": "3", "torch": "2"},
        "commit": commit,
        "date": "2026-01-01",
        "limits": {place: {"fp32": 1.0, "copy": 2.0}},
        "cases": {case: {place: {"batch_size": 4, "rounds": 1, "steps_a_turn": 1, "sides": sides}}},
    }


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ([run(1.5)], run(1.43), []),
        ([run(1.5)], run(1.42), ["fc, ganzoo on cpu 1: 1.42 times the textbook, 1.50 at a"]),
        ([run(1.5)], run(1.2, kind="another machine"), []),
        ([run(1.5)], run(1.2, place="cpu all"), []),
        ([run(1.5)], run(1.2, case="conv"), []),
        ([run(1.5), run(1.2, "b")], run(1.2), []),
        ([run(1.5), run(2.0, "b"), run(9.0, case="conv")], run(1.5), ["fc, ganzoo on cpu 1: 1.50 ... 2.00 at b"]),
        ([], run(1.2), []),
    ],
)
def test_a_ratio_that_fell_is_named(report, before, after, named) -> None:
    found = report.falls(before, after)
    assert len(found) == len(named)
    for sentence, expected in zip(found, named, strict=True):
        assert all(part in sentence for part in expected.split(" ... "))


def test_earlier_results_stay(report, tmp_path) -> None:
    path = tmp_path / "speed.json"
    for commit in ("a", "b"):
        report.add(path, run(1.5, commit))
    assert report.load(path) == [run(1.5, "a"), run(1.5, "b")]


def test_the_table_has_the_newest_of_each_machine_case_and_place(report) -> None:
    text = report.table([run(1.5), run(1.6, kind="y"), run(1.7, "b"), run(1.8, "c", case="conv")])
    assert text.count("\n| ") == 2 * 3 + 2  # a head for each machine, a row for each side
    assert "**x**: commit b of 2026-01-01, torch 2; commit c of 2026-01-01, torch 2." in text
    assert "1.50" not in text
    for ratio in ("1.60 (1.60 to 1.60)", "1.70", "1.80"):
        assert ratio in text


def test_the_docs_have_the_table_of_the_results(report) -> None:
    runs = report.load(ROOT / "benchmarks" / "results" / "speed.json")
    assert runs
    assert json.dumps(runs)
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert f"{report.BEGIN}\n\n{report.table(runs)}{report.END}" in text
