"""Runs side by side: their settings, losses and figures, from their files alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.config.merging import flat
from ganzoo.errors import UserError, lists, path_of
from ganzoo.fields.drawing import caption
from ganzoo.files import read_json
from ganzoo.gan.metrics import Direction, Metric
from ganzoo.images.plots import curve_style, save_figure, smooth
from ganzoo.inference.evaluation import FILE
from ganzoo.plugin.registry import load_registry
from ganzoo.runs.naming import Name
from ganzoo.runs.run import Run

__all__ = ["Comparison", "RunSummary", "compare"]

_HIDDEN = ("environment", "data_spec", "metric")  # tables of config.toml that are no settings of the training
_NAMED = ("plugin", "steps", "data.name", "loss.name")  # settings that a summary has by a name of their own


@dataclass(frozen=True)
class RunSummary:
    """What is known about a run without loading it."""

    name: str
    """The folder's name; its whole path where two runs of a comparison share the name."""

    run: str
    """The path of the run folder."""

    model: str
    data: str
    loss: str
    """The keys of the plugins that it was trained with; the loss is empty if the model has its own."""

    steps: int
    """How many steps it is to be trained."""

    step: int
    """The last step that has been logged."""

    settings: Mapping[str, Any]
    """The settings in which the runs of a comparison differ, by their dotted names."""

    last: Mapping[str, float]
    """The last logged value of every loss and metric."""

    eval: Mapping[str, float | None]
    """The figures of eval.json, None where one was not finite; empty if there is no such file."""

    rows: Sequence[Mapping[str, float]] = field(repr=False)
    """The lines of metrics.jsonl."""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    runs: Sequence[RunSummary]

    better: Mapping[str, Direction | None]
    """Which way is good for each figure; None for a loss, and for a metric that is not installed or does not say."""

    @property
    def logged(self) -> list[str]:
        """The losses and metrics that any of the runs has logged, losses first."""
        return sorted({key for run in self.runs for key in run.last}, key=lambda key: (not key.endswith("/loss"), key))

    def draw(self, axes: Any, key: str, most: int = 10**6) -> None:
        """Draw the curves of a loss or metric on axes of matplotlib's, of at most so many points each.

        Losses are smoothed, the values faint behind.
        """
        for index, run in enumerate(self.runs):
            points = [(row["step"], row[key]) for row in run.rows if key in row and isfinite(row[key])]
            if not points:
                continue
            steps, values = np.array(points).T
            every = -(-len(steps) // most)
            chosen = np.unique([*range(0, len(steps), every), len(steps) - 1])
            style = curve_style(index)
            if key.endswith("/loss") and len(steps) > 2:
                axes.plot(steps[chosen], values[chosen], color=style["color"], alpha=0.2, linewidth=0.8)
                values = smooth(values)
            marker = "o" if len(steps) == 1 else None  # a single point is no line
            axes.plot(steps[chosen], values[chosen], marker=marker, label=caption(run.name), **style)
        axes.set(title=caption(key), xlabel="step")
        axes.grid(alpha=0.3)

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw a .png with a panel for each loss and metric that was logged, and a line in it for each run.

        Raises :class:`~ganzoo.UserError` if nothing has been logged yet, or if the file cannot be written.
        """
        if path_of("path", path).suffix.lower() != ".png":
            raise UserError(f"--out is a .png, not {path}")
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        keys = self.logged
        if not keys:
            raise UserError("these runs have logged nothing yet that could be drawn")
        columns = min(3, len(keys))
        lines = -(-len(keys) // columns)
        figure = Figure(figsize=(5 * columns, 3.6 * lines + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel, key in zip(panels, keys, strict=False):
            self.draw(panel, key)
        for panel in panels[len(keys) :]:
            panel.set_axis_off()
        legend = {
            label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=min(4, len(legend)))
        save_figure(path, figure)


def compare(runs: Sequence[Name]) -> Comparison:
    """Compare runs by their settings, the losses and metrics that they have logged, and the figures of their eval.json.

    A run is a :class:`~ganzoo.Run`, its path, its number, or ``"last"``. Nothing is loaded or computed. Raises
    :class:`~ganzoo.UserError` if there is no such run, or if its files are damaged.
    """
    lists(runs=runs)
    if not runs:
        raise UserError("name the runs to compare")
    summaries = [_summary(Run.open(run)) for run in runs]
    if len({each.name for each in summaries}) < len(summaries):  # runs of the same number in two folders
        summaries = [replace(each, name=each.run) for each in summaries]
    shared = set.intersection(*(set(each.settings) for each in summaries))
    differing = sorted(key for key in shared if len({str(each.settings[key]) for each in summaries}) > 1)
    summaries = [replace(each, settings={key: each.settings[key] for key in differing}) for each in summaries]
    return Comparison(summaries, _better({key for each in summaries for key in (*each.last, *each.eval)}))


def _summary(run: Run) -> RunSummary:
    document, rows = run.document(), run.metrics()
    try:
        key = document["plugin"].rpartition("/")[2]
        data, loss = (document.get(name, {}).get("name", "").rpartition("/")[2] for name in ("data", "loss"))
        steps, metrics = document["steps"], [name.rpartition("/")[2] for name in document.get("metric", {})]
    except (KeyError, AttributeError, TypeError):
        raise UserError(f"{run.path / 'config.toml'} is not the config of a run") from None
    last: dict[str, float] = {}
    for row in rows:
        last |= {name: row[name] for name in row if name.endswith("/loss") or name.partition("/")[0] in metrics}
    settings = flat({name: value for name, value in document.items() if name not in _HIDDEN})
    return RunSummary(
        name=run.path.resolve().name,
        run=str(run.path),
        model=key,
        data=data,
        loss=loss,
        steps=steps,
        step=int(rows[-1]["step"]) if rows else 0,
        settings={name: value for name, value in settings.items() if name not in _NAMED},
        last=last,
        eval=_figures(run.path / FILE),
        rows=rows,
    )


def _figures(path: Path) -> dict[str, float | None]:
    """Return the figures of an eval.json, none if there is none."""
    if not path.exists():
        return {}
    try:
        document = read_json(path)
    except UserError:
        document = None
    figures = document.get("figures") if isinstance(document, dict) else None
    if not isinstance(figures, dict) or not all(type(each) in (int, float, type(None)) for each in figures.values()):
        raise UserError(f"{path} is damaged; delete it, or write it anew with: ganzoo eval {path.parent}")
    return figures


def _better(names: Iterable[str]) -> dict[str, Direction | None]:
    registry, better = load_registry(), {}
    for name in names:
        try:
            cls: type[Metric] = registry.get("metric", name.partition("/")[0]).spec.load()
            better[name] = cls.direction(name)
        except UserError:  # a loss, or a metric of a plugin that is gone
            better[name] = None
    return better
