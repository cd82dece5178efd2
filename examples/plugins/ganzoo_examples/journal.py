"""A tracker that writes a line of text for each line that is logged, all trainings into one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ganzoo import Tracker, TrackerConfig


class JournalConfig(TrackerConfig):
    """Where it is written."""

    file: str = Field("journal.txt", description="name of the file, beside the run folders")


class Journal(Tracker[JournalConfig]):
    """Tells in plain words what a training does."""

    def start(self, run: Path, config: Mapping[str, Any], step: int) -> None:
        self.run = run
        self.write(f"begins: {config['plugin']}" if step == 0 else f"goes on after step {step}")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.write(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))

    def finish(self, step: int, outcome: Literal["done", "interrupted", "failed"]) -> None:
        self.write(f"{outcome} after step {step}")

    def write(self, line: str) -> None:
        """Add a line to the file."""
        with (self.run.parent / self.config.file).open("a", encoding="utf-8") as file:
            file.write(f"{self.run.name} {line}\n")
