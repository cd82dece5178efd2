"""Writes what a run logs to metrics.csv in its folder, one figure a row: step, name, value."""

import csv
from collections.abc import Mapping
from pathlib import Path

from ganzoo import hookimpl


@hookimpl
def ganzoo_fit_start(run: Path, step: int) -> None:
    """Begin the file; on resume, drop the rows after the checkpoint, which will be logged again."""
    path = run / "metrics.csv"
    rows = []
    if step and path.is_file():
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row[0].isdigit() and int(row[0]) <= step]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["step", "name", "value"], *rows])


@hookimpl
def ganzoo_log(run: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Append a line for each figure."""
    with (run / "metrics.csv").open("a", newline="") as file:
        csv.writer(file).writerows([step, name, value] for name, value in metrics.items())
