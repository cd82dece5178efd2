"""Plots: loss curves, and how every figure of matplotlib is saved."""

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.fields.drawing import caption, figure
from ganzoo.files import atomic_path

__all__ = ["curve_style", "save_curves", "save_figure", "smooth"]

COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


def save_curves(path: str | PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Plot every logged loss over the steps, smoothed, the raw values faint behind."""
    losses = sorted({key for row in rows for key in row if key.endswith("/loss")})
    if not losses:
        return
    made, axes = figure(9, 4.5)
    for key in losses:
        steps = [row["step"] for row in rows if key in row]
        values = np.array([row[key] for row in rows if key in row])
        (line,) = axes.plot(steps, smooth(values), label=caption(key.removesuffix("/loss")))
        axes.plot(steps, values, color=line.get_color(), alpha=0.25, linewidth=0.8)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend()
    axes.grid(alpha=0.3)
    save_figure(path, made)


def curve_style(index: int) -> dict[str, str]:
    """Return the color and the line style of a curve of many; they repeat after 40."""
    return {"color": COLORS[index % len(COLORS)], "linestyle": ("-", "--", ":", "-.")[index // len(COLORS) % 4]}


def save_figure(path: str | PathLike[str], figure: Any) -> None:
    """Write a figure of matplotlib's to a .png; what its font has not is drawn as an empty box, without a warning."""
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")
        figure.savefig(temporary, dpi=80, format="png")


def smooth(values: NDArray[np.float64], weight: float = 0.9) -> NDArray[np.float64]:
    """Exponential moving average with the bias of its start removed."""
    smoothed, average = np.empty_like(values, dtype=np.float64), 0.0
    for index, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        smoothed[index] = average / (1 - weight ** (index + 1))
    return smoothed
