"""Plots: loss curves, densities of points, and what every figure of matplotlib needs."""

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.files import atomic_path
from ganzoo_runtime.text import shown

__all__ = ["POINTS", "caption", "save_curves", "save_figure"]

POINTS = 10_000
"""Points in a density plot."""


def save_curves(path: str | PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Plot every logged loss over the steps, smoothed, the raw values faint behind."""
    losses = sorted({key for row in rows for key in row if key.endswith("/loss")})
    if not losses:
        return
    figure, axes = _figure(9, 4.5)
    for key in losses:
        steps = [row["step"] for row in rows if key in row]
        values = np.array([row[key] for row in rows if key in row])
        (line,) = axes.plot(steps, _smooth(values), label=caption(key.removesuffix("/loss")))
        axes.plot(steps, values, color=line.get_color(), alpha=0.25, linewidth=0.8)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend()
    axes.grid(alpha=0.3)
    save_figure(path, figure)


def save_density(path: str | PathLike[str], samples: NDArray[np.float32], real: NDArray[np.float32] | None) -> None:
    """Draw the first two coordinates as two-dimensional histograms on the same axes."""
    panels = [("samples", samples)] if real is None else [("data", real), ("samples", samples)]
    reference = panels[0][1]
    low, high = reference.min(axis=0), reference.max(axis=0)
    margin = 0.15 * (high - low).max() + 1e-6
    edges = [np.linspace(low[axis] - margin, high[axis] + margin, 161) for axis in range(min(2, reference.shape[1]))]
    figure, axes = _figure(5 * len(panels), 5, columns=len(panels))
    for axis, (title, points) in zip(np.atleast_1d(axes), panels, strict=True):
        if len(edges) == 1:
            axis.hist(points[:, 0], bins=edges[0], density=True)
        else:
            counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=edges)
            axis.imshow(
                np.sqrt(counts.T),
                origin="lower",
                extent=(edges[0][0], edges[0][-1], edges[1][0], edges[1][-1]),
                cmap="magma",
                aspect="auto",
            )
        axis.set_title(title)
    save_figure(path, figure)


def _figure(width: float, height: float, columns: int = 1) -> Any:
    # The object-oriented interface: no global state, no window system, safe beside an application's own pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def caption(text: str) -> str:
    """Return a name as matplotlib shows it as it is: dollars would make it a formula."""
    return shown(text).replace("$", r"\$")


def save_figure(path: str | PathLike[str], figure: Any) -> None:
    """Write a figure of matplotlib's to a .png; what its font has not is drawn as an empty box, without a warning."""
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")
        figure.savefig(temporary, dpi=80, format="png")


def _smooth(values: NDArray[np.float64], weight: float = 0.9) -> NDArray[np.float64]:
    """Exponential moving average with the bias of its start removed."""
    smoothed, average = np.empty_like(values, dtype=np.float64), 0.0
    for index, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        smoothed[index] = average / (1 - weight ** (index + 1))
    return smoothed
