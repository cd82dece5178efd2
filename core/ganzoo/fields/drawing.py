"""Drawing of samples into images, uint8 [H, W, C]: tiles, lines, text and densities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo_runtime.text import shown

__all__ = ["bins", "caption", "density", "figure", "grid", "histograms", "lines", "text", "viewable"]


def grid(pixels: NDArray[np.uint8], columns: int | None = None, pad: int = 2) -> NDArray[np.uint8]:
    """Lay images, uint8 [N, H, W, C], out in so many columns or a nearly square grid, on white, small ones enlarged."""
    pixels = viewable(pixels)
    n, height, width, channels = pixels.shape
    columns = max(1, min(n, columns or round((n * height / width) ** 0.5)))
    rows = -(-n // columns)
    canvas = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, channels), 255, np.uint8)
    for index, image in enumerate(pixels):
        top, left = pad + index // columns * (height + pad), pad + index % columns * (width + pad)
        canvas[top : top + height, left : left + width] = image
    scale = max(1, 640 // max(canvas.shape[:2]))
    return canvas.repeat(scale, axis=0).repeat(scale, axis=1)


def viewable(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep gray, RGB and RGBA as they are; of any other number of channels show the first three, or the first."""
    channels = pixels.shape[-1]
    return pixels if channels in (1, 3, 4) else pixels[..., : 3 if channels > 3 else 1]


def lines(
    samples: NDArray[Any],
    columns: int | None = None,
    range: tuple[float, float] | None = None,
    names: Sequence[str] = (),
    real: NDArray[Any] | None = None,
    units: Sequence[tuple[float, float]] = (),
) -> NDArray[np.uint8]:
    """Draw series [N, C, L], a panel each in so many columns or 4, with a line for each channel.

    All panels have one scale: ``range``, or that of the values. ``real`` series stand on the left, 4 in each row. The
    ends of the scale are written at the axis in the channels' ``units``; where these differ, behind the names.
    """
    n, channels, length = samples.shape
    finite = samples[np.isfinite(samples)]
    low, high = range or ((float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0))
    columns = max(1, min(n, columns or 4))
    rows = -(-n // columns)
    wide = 0 if real is None or not len(real) else min(columns, 4, len(real))
    if len({*units}) > 1:
        names = [
            f"{names[index] if names else f'channel {index}'}, {least:.4g} to {most:.4g}"
            for index, (least, most) in enumerate(units)
        ]
    margin, gap = 0.1, 0.3
    made, axes = figure(2.4 * (columns + wide) + 0.4, 1.6 * rows + 0.4 * bool(names) + 0.6)
    # One pair of axes for all panels: with a pair each, matplotlib takes a second for a picture.
    across = np.linspace(0, 1, length) if length > 1 else np.array([0.5])
    blocks = [(0.0, wide, "data", real[: wide * rows])] if real is not None and wide else []
    blocks.append((wide * (1 + margin) + gap * bool(wide), columns, "samples", samples))
    for start, panels, title, series in blocks:
        for index, sample in enumerate((series - low) / ((high - low) or 1.0)):
            left = start + index % panels * (1 + margin)
            bottom = -(index // panels) * (1 + margin)
            axes.plot([left, left + 1, left + 1, left, left], [bottom, bottom, bottom + 1, bottom + 1, bottom], "0.85")
            for channel, values in enumerate(sample):
                label = caption(names[channel]) if names and not index and title == "samples" else None
                mark = "" if length > 1 else "."
                axes.plot(
                    left + across, bottom + values, mark + "-", color=f"C{channel % 10}", linewidth=1, label=label
                )
        axes.text(start, 1 + margin, title if wide else "", fontsize=9)
        bottom = -(rows - 1) * (1 + margin) - 0.02
        for step in {0, length - 1}:
            place = start + (step / (length - 1) if length > 1 else 0.5)
            axes.text(place, bottom, f"{step}", fontsize=7, ha="center", va="top")
    if len({*units}) <= 1:
        for place, number in zip((0, 1), units[0] if units else (low, high), strict=True):
            axes.text(-0.03, place, f"{number:.4g}", fontsize=7, ha="right", va="bottom" if not place else "top")
    right = blocks[-1][0] + columns * (1 + margin)
    axes.set(xlim=(-4 * margin, right), ylim=(-(rows - 1) * (1 + margin) - 2.5 * margin, 1 + 3 * margin))
    axes.set_axis_off()
    if names:
        made.legend(loc="outside upper center", ncols=min(channels, 6))
    return rendered(made)


def text(samples: Sequence[str], width: int = 100) -> NDArray[np.uint8]:
    """Draw a line of text for each sample, cut at ``width`` characters."""
    made, axes = figure(9, 0.24 * len(samples) + 0.2)
    axes.set_axis_off()
    axes.set(ylim=(-len(samples), 0), xlim=(0, 1))
    for index, sample in enumerate(samples):
        line = " ".join(sample.split("\n"))
        line = line if len(line) <= width else f"{line[: width - 1]}…"
        axes.text(0, -index - 0.5, caption(line), family="monospace", fontsize=9, verticalalignment="center")
    return rendered(made)


def histograms(
    panels: Mapping[str, Sequence[tuple[str, NDArray[Any]]]],
    categories: Mapping[str, Sequence[str]],
    steps: Mapping[str, float],
) -> NDArray[np.uint8]:
    """Draw a panel for each name with the named values [N] in it: a histogram, or the shares of its ``categories``.

    ``steps`` are what values are rounded to: each bin has as many of them, or there would be gaps that no data has.
    """
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    made, axes = figure(3.2 * columns, 2.4 * rows, rows, columns)
    flat = np.atleast_1d(axes).flatten()
    for axis in flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (name, series) in zip(flat, panels.items(), strict=False):
        if known := categories.get(name):
            places, width = np.arange(len(known)), 0.8 / len(series)
            for number, (label, values) in enumerate(series):
                shares = [(values == each).mean() for each in known]
                axis.bar(places + number * width - 0.4 + width / 2, shares, width, label=label)
            axis.set_xticks(places, [caption(each[:12]) for each in known], rotation=45 if len(known) > 3 else 0)
        else:
            series = [(label, values) for label, values in series if len(values)]
            low = min((values.min() for _, values in series), default=0)
            high = max((values.max() for _, values in series), default=1)
            edges = bins(low, high, steps.get(name))
            for label, values in series:
                axis.hist(values, bins=edges, density=True, histtype="step", label=label)
        axis.set_title(caption(name), fontsize=9)
    flat[0].legend(fontsize=7)
    return rendered(made)


def bins(low: float, high: float, step: float | None = None) -> NDArray[np.float64]:
    """Return the edges of about 40 bins from ``low`` to ``high``, each with as many multiples of ``step`` in it."""
    if step is None or high - low < step:
        return np.linspace(low, high if high > low else low + 1, 41)
    width = step * np.ceil((high - low) / step / 40)
    edges: NDArray[np.float64] = low - step / 2 + width * np.arange(np.ceil((high - low + step / 2) / width) + 1)
    return edges


def density(samples: NDArray[Any], real: NDArray[Any] | None) -> NDArray[np.uint8]:
    """Draw the first two coordinates of points [N, D] as two-dimensional histograms on the same axes."""
    panels = [("samples", samples)] if real is None else [("data", real), ("samples", samples)]
    reference = panels[0][1]
    low, high = reference.min(axis=0), reference.max(axis=0)
    margin = 0.15 * (high - low).max() + 1e-6
    edges = [np.linspace(low[axis] - margin, high[axis] + margin, 161) for axis in range(min(2, reference.shape[1]))]
    made, axes = figure(5 * len(panels), 5, columns=len(panels))
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
    return rendered(made)


def figure(width: float, height: float, rows: int = 1, columns: int = 1) -> Any:
    """Return a figure of matplotlib's of so many inches, and its axes."""
    # The object-oriented interface: no global state, no window system, safe beside an application's own pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained", dpi=80)
    FigureCanvasAgg(made)
    return made, made.subplots(rows, columns)


def rendered(figure: Any) -> NDArray[np.uint8]:
    """Return a figure as an image, uint8 [H, W, 3]; what its font has not is an empty box, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")
        figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def caption(text: str) -> str:
    """Return a name as matplotlib shows it as it is: dollars would make it a formula."""
    return shown(text).replace("$", r"\$")
