"""A tracker that writes what a training logs as a table, a figure a row: step, name, value."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from ganzoo import Tracker, TrackerConfig


class ExampleKeyConfig(TrackerConfig):
    """Settings of the tracker: ``--set tracker.example_key.file=table.csv``."""

    file: str = Field("metrics.csv", pattern=r"^[\w-]+\.csv$", description="name of the file, in the run folder")


class ExampleKey(Tracker[ExampleKeyConfig]):
    """Follows one training. What a method raises is reported once, and the training goes on."""

    def start(self, run: Path, config: Mapping[str, Any], step: int) -> None:
        """Begin the table; on resume, drop the rows after the checkpoint, whose steps will be told again."""
        self.path = run / self.config.file
        rows: list[list[str]] = []
        if step and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if row[0].isdigit() and int(row[0]) <= step]
        self.write("w", [["step", "name", "value"], *rows])

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a row for each figure."""
        self.write("a", ([step, name, value] for name, value in metrics.items()))

    def write(self, mode: str, rows: Iterable[list[Any]]) -> None:
        """Write rows to the file, anew or at its end."""
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
