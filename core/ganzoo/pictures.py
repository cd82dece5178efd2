"""What people look at: sample sheets, density pictures, loss curves, and the film of a training."""

import warnings
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from ganzoo.files import atomic_path
from ganzoo.images import on_background
from ganzoo.pixels import to_pixels
from ganzoo.signature import Field, Image, Label, Signature
from ganzoo.text import shown

__all__ = [
    "POINTS",
    "SHEET",
    "caption",
    "grid",
    "save_comparison",
    "save_curves",
    "save_figure",
    "save_film",
    "save_sheet",
    "sheet_columns",
    "sheet_size",
]

SHEET = 64
"""Images on a sample sheet, unless its columns are classes."""

ROWS = 8
"""Rows of a sample sheet whose columns are classes."""

POINTS = 10_000
"""Points in a density picture."""


def sheet_columns(signature: Signature, fixed: Container[str] = ()) -> int | None:
    """Return how many columns make every column of a sample sheet one class, if the model has at most 16 classes.

    They are the classes of the first label that is not ``fixed`` by name, since it changes fastest when samples are
    drawn. None is returned where there is no such label.
    """
    free = (field.classes for field in signature.inputs if isinstance(field, Label) and field.name not in fixed)
    classes = next(free, 1)
    return classes if 1 < classes <= 16 else None


def sheet_size(signature: Signature) -> int:
    """Return how many images a sample sheet of the model shows."""
    columns = sheet_columns(signature)
    return ROWS * columns if columns else SHEET


def save_sheet(
    path: Path,
    samples: NDArray[np.float32],
    field: Field,
    real: NDArray[np.float32] | None = None,
    columns: int | None = None,
) -> None:
    """Draw samples: images in a grid; points as a density picture, beside that of ``real`` points if given.

    The grid has so many ``columns``, or is nearly square.
    """
    if isinstance(field, Image):
        _save(path, grid(to_pixels(samples, field.range, field.layout), columns))
    else:
        _save_density(path, samples, real)


def grid(pixels: NDArray[np.uint8], columns: int | None = None, pad: int = 2) -> NDArray[np.uint8]:
    """Lay images, uint8 [N, H, W, C], out in so many columns or a nearly square grid, on white, small ones enlarged."""
    pixels = _drawable(pixels)
    n, height, width, channels = pixels.shape
    columns = max(1, min(n, columns or round((n * height / width) ** 0.5)))
    rows = -(-n // columns)
    sheet = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, channels), 255, np.uint8)
    for index, image in enumerate(pixels):
        top, left = pad + index // columns * (height + pad), pad + index % columns * (width + pad)
        sheet[top : top + height, left : left + width] = image
    scale = max(1, 640 // max(sheet.shape[:2]))
    return sheet.repeat(scale, axis=0).repeat(scale, axis=1)


def save_comparison(path: Path, columns: Sequence[NDArray[np.uint8]]) -> None:
    """Draw images [N, H, W, C], row by row what belongs together side by side; as many such rows in one as fit."""
    sizes = max(images.shape[1] for images in columns), max(images.shape[2] for images in columns)
    shown = [_drawable(images) for images in columns]
    channels = max(images.shape[-1] for images in shown)
    shown = [_padded(_widened(images, channels), *sizes) for images in shown]
    together = np.stack(shown, axis=1).reshape(-1, *shown[0].shape[1:])
    _save(path, grid(together, len(columns) * max(1, 8 // len(columns))))


def save_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
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


def save_film(path: Path, sheets: Sequence[Path], seconds: float = 8.0) -> None:
    """Put sample sheets together to an animated GIF, at most 120 frames, the last one shown longest."""
    if not sheets:
        return
    stride = -(-len(sheets) // 120)
    chosen = [*sheets[:-1][::stride], sheets[-1]]
    frames = []
    for sheet in chosen:
        with Pillow.open(sheet) as image:
            frames.append(on_background(image).convert("P", palette=Pillow.Palette.ADAPTIVE))
    each = int(min(500, max(50, 1000 * seconds / len(frames))))
    with atomic_path(path) as temporary:
        frames[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[each] * (len(frames) - 1) + [2000],
            loop=0,
        )


def _save_density(path: Path, samples: NDArray[np.float32], real: NDArray[np.float32] | None) -> None:
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


def save_figure(path: Path, figure: Any) -> None:
    """Write a figure of matplotlib's to a .png; what its font has not is drawn as an empty box, without a warning."""
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")
        figure.savefig(temporary, dpi=80, format="png")


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    image = Pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _drawable(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep grey, RGB and RGBA as they are; of any other number of channels show the first three, or the first."""
    channels = pixels.shape[-1]
    return pixels if channels in (1, 3, 4) else pixels[..., : 3 if channels > 3 else 1]


def _widened(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Turn grey to RGB where there are to be 3 channels, and either to opaque RGBA where there are to be 4."""
    if channels > 1 and pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, axis=-1)
    if channels > pixels.shape[-1]:
        pixels = np.pad(pixels, [*[(0, 0)] * (pixels.ndim - 1), (0, 1)], constant_values=255)
    return pixels


def _padded(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    (_, h, w, _), white = pixels.shape, 255
    return np.pad(pixels, ((0, 0), (0, height - h), (0, width - w), (0, 0)), constant_values=white)


def _smooth(values: NDArray[np.float64], weight: float = 0.9) -> NDArray[np.float64]:
    """Exponential moving average with the bias of its start removed."""
    smoothed, average = np.empty_like(values, dtype=np.float64), 0.0
    for index, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        smoothed[index] = average / (1 - weight ** (index + 1))
    return smoothed
