"""The trials of a sweep: what became of each, a table and a plot of all."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from pathlib import Path
from statistics import median
from typing import Any

from ganzoo.fields.drawing import caption, figure
from ganzoo.files import write_atomic
from ganzoo.images.plots import save_figure
from ganzoo.runs.run import Run

__all__ = ["FILE", "Sweep", "Trial"]

FILE = "sweep.json"

_STARTUP = 5


@dataclass(frozen=True)
class Trial:
    """One training of a sweep."""

    settings: dict[str, Any]
    """What was varied, by dotted names."""

    run: str = ""
    """The name of its run folder in that of the sweep, of one that has begun its number; empty if there is none."""

    status: str = "begun"
    """``"done"``, ``"pruned"``, ``"failed"``, or ``"begun"``."""

    value: float | None = None
    """The best figure that it reached; None without one."""

    step: int | None = None
    """The step of that figure."""

    error: str = ""
    """Why it failed."""


@dataclass
class Sweep:
    """Trainings of one model that differ in some settings."""

    path: Path
    """Its folder: sweep.json, sweep.csv, sweep.png, and the run folders."""

    metric: str
    """The figure that they are compared by; empty if there is none."""

    better: str
    """``"lower"`` or ``"higher"``."""

    asked: dict[str, Any]
    """What else they were trained with."""

    trials: list[Trial] = field(default_factory=list)

    @property
    def ranked(self) -> list[Trial]:
        """The trials, the best first, those without a figure last."""
        sign = -1 if self.better == "higher" else 1
        return sorted(self.trials, key=lambda trial: inf if trial.value is None else sign * trial.value)

    @property
    def best(self) -> Trial | None:
        """The best trial; None if none has a figure."""
        return next((trial for trial in self.ranked if trial.value is not None), None)

    def note(self, trial: Trial) -> None:
        """Put a trial in the place of that with the same settings, or behind the others, and save."""
        same = [index for index, each in enumerate(self.trials) if each.settings == trial.settings]
        index = same[0] if same else len(self.trials)
        self.trials[index : index + 1] = [trial]
        self.save()

    def save(self) -> None:
        """Write sweep.json; raises :class:`UserError` if it cannot be written."""
        trials = [asdict(trial) for trial in self.trials]
        document = {"metric": self.metric, "better": self.better, "asked": self.asked, "trials": trials}
        write_atomic(self.path / FILE, json.dumps(document, indent=2) + "\n")

    def medians(self) -> dict[int, float]:
        """Return the median of what the trials that are done had after each step; nothing until there are five."""
        done = [Run(self.path / trial.run).metrics() for trial in self.trials if trial.status == "done"]
        figures: dict[int, list[float]] = {}
        for row in (row for rows in done for row in rows):
            if isfinite(value := row.get(self.metric, inf)):
                figures.setdefault(int(row["step"]), []).append(value)
        return {step: median(each) for step, each in figures.items()} if len(done) >= _STARTUP else {}

    def rows(self) -> list[list[str]]:
        """Return a table with a head, the best trial first."""
        names = list(dict.fromkeys(name for trial in self.trials for name in trial.settings))
        rows = [["run", *names, self.metric or "figure", "step", "status"]]
        for trial in self.ranked:
            figures = ["" if each is None else f"{each:.6g}" for each in (trial.value, trial.step)]
            said = f"{trial.status}: {trial.error}" if trial.error else trial.status
            rows.append([trial.run, *(_cell(trial.settings.get(name)) for name in names), *figures, said])
        return rows

    def finish(self) -> None:
        """Write sweep.csv and sweep.png."""
        text = io.StringIO()
        csv.writer(text).writerows([[_harmless(cell) for cell in row] for row in self.rows()])
        write_atomic(self.path / "sweep.csv", text.getvalue())
        known = [trial for trial in self.trials if trial.value is not None]
        names = list(dict.fromkeys(name for trial in known for name in trial.settings))
        if not names:
            return
        made, axes = figure(4.2 * len(names), 3.6, columns=len(names))
        for panel, name in zip([axes] if len(names) == 1 else axes, names, strict=True):
            values: list[Any] = [trial.settings.get(name) for trial in known]
            heights = [trial.value for trial in known]
            if all(type(value) in (int, float) for value in values):
                panel.plot(values, heights, "o")
                if min(values) > 0 and max(values) >= 20 * min(values):
                    panel.set_xscale("log")
            else:
                choices = list(dict.fromkeys(map(_cell, values)))
                panel.plot([choices.index(_cell(value)) for value in values], heights, "o")
                panel.set_xticks(range(len(choices)), [caption(each[:30]) for each in choices])
            panel.set(xlabel=caption(name), ylabel=caption(f"{self.metric} ({self.better} is better)"))
            panel.grid(alpha=0.3)
        save_figure(self.path / "sweep.png", made)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _harmless(cell: str) -> str:
    """Return a text that no spreadsheet computes: one that looks like a formula stands behind an apostrophe."""
    if not cell.startswith(("=", "+", "-", "@")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
