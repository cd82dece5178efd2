"""Runs on one page of HTML that opens offline: curves, samples over time, figures, settings, and what happened."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from ganzoo.config.merging import flat
from ganzoo.errors import UserError, path_of
from ganzoo.files import write_atomic
from ganzoo.images.marking import read_claims, save_image
from ganzoo.images.notebook import drawn
from ganzoo.images.plots import curve_style
from ganzoo.images.reading import ImageReader, on_background
from ganzoo.inference.comparison import Comparison, compare
from ganzoo.runs.naming import Name
from ganzoo.runs.run import Run
from ganzoo_runtime.text import shown

__all__ = ["report"]

_RUNS, _PANELS, _POINTS = 100, 60, 400  # the most that a page holds; of a curve so many points
_PICTURES, _SIDE = 60, 640  # pictures of all runs together, and their pixels

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #222 }
h1 { font-size: 1.6em } h2 { margin-top: 2em; border-bottom: 1px solid #ddd } h3 { margin-bottom: 0.3em }
.scroll { overflow-x: auto } table { border-collapse: collapse }
th, td { text-align: left; padding: 0.2em 1em 0.2em 0; border-bottom: 1px solid #eee; vertical-align: top }
td.best { font-weight: bold } .curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)) }
.curves img { width: 100% } .samples { display: flex; flex-wrap: wrap; gap: 1em } figure { margin: 0 }
.samples img { height: 220px; max-width: 100%; image-rendering: pixelated } figcaption { color: #666 }
.warning { color: #a33 } .key { display: inline-block; width: 1.6em; border-top: 4px; vertical-align: middle }
"""


def report(runs: Sequence[Name], out: str | PathLike[str] = "report.html") -> Path:
    """Write one file of HTML about runs, with everything in it, and return its path; it asks no other server.

    It shows the curves of losses and metrics, one run over another, grids of samples over time beside real ones, the
    last figures and those of eval.json, the settings (of several runs those that differ), the environment, and what
    events.jsonl says: settings that changed, warnings, rewinds. Pictures are shrunk, so that it stays small. A run is
    named as in :func:`ganzoo.compare`. Raises :class:`~ganzoo.UserError` if there is no such run, if its files are
    damaged, for a name that does not end in .html, and if it cannot be written.
    """
    path = path_of("out", out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"a report is a .html, not {path}")
    found = compare(runs)
    if len(found.runs) > _RUNS:
        raise UserError(f"a report is of at most {_RUNS} runs, not {len(found.runs)}")
    opened = [Run.open(each.run) for each in found.runs]
    title = found.runs[0].name if len(opened) == 1 else f"{len(opened)} runs"
    several = len(opened) > 1
    parts = {
        "Runs": _overview(found),
        "Curves": _curves(found),
        "Figures": _figures(found),
        "Samples over time": "".join(
            f"<h3>{_text(each.name)}</h3>{_samples(run, len(opened))}"
            for each, run in zip(found.runs, opened, strict=True)
        ),
        "What happened": _events(found, opened),
        "Settings that differ" if several else "Settings": _settings(found, opened),
        "Environment": _columns(
            [flat({"environment": run.document().get("environment", {})}) for run in opened], found
        ),
    }
    # No script is in the page, and the policy lets nothing be fetched, whatever names in a run's files are.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    body = "".join(f"<h2>{name}</h2>{part}" for name, part in parts.items() if part)
    write_atomic(
        path,
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{_text(title)}</h1>{body}</body></html>\n",
    )
    return path


def _overview(found: Comparison) -> str:
    head = ["", "run", "model", "data", "loss", "steps"]
    rows = []
    for index, run in enumerate(found.runs):
        style = curve_style(index)
        line = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "double"}[style["linestyle"]]
        key = f'<td><span class="key" style="border-top-style: {line}; border-color: {style["color"]}"></span></td>'
        cells = [run.name, run.model, run.data, run.loss, f"{run.step:,} of {run.steps:,}"]
        rows.append(key + "".join(f"<td>{_text(cell)}</td>" for cell in cells))
    return _table(head, rows)


def _curves(found: Comparison) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    pictures = []
    for key in found.logged[:_PANELS]:
        figure, buffer = Figure(figsize=(4.5, 3), layout="constrained"), io.BytesIO()
        found.draw(figure.subplots(), key, _POINTS)
        # Text stays text, which the reader's fonts draw, and the same runs give the same file.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ganzoo"}):
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        pictures.append(_image("image/svg+xml", buffer.getvalue(), key))
    more = len(found.logged) - _PANELS
    left = f"<p>{more} more figures are not drawn: ganzoo compare prints them.</p>" if more > 0 else ""
    return f'<div class="curves">{"".join(pictures)}</div>{left}' if pictures else ""


def _figures(found: Comparison) -> str:
    rows = []
    for kind, label in (("last", ""), ("eval", "eval ")):
        for key in dict.fromkeys(key for run in found.runs for key in getattr(run, kind)):
            values = [getattr(run, kind).get(key) for run in found.runs]
            known = [value for value in values if value is not None and value == value]
            better = found.better.get(key)
            best = {"lower": min, "higher": max}[better](known) if better in ("lower", "higher") and known[1:] else None
            cells = [
                f"<td{' class=best' if value is not None and value == best else ''}>{_number(value)}</td>"
                for value in values
            ]
            rows.append(f"<td>{_text(label + key)}</td>{''.join(cells)}<td>{_text(better or '')}</td>")
    return _table(["", *(run.name for run in found.runs), "better"], rows) if rows else ""


def _samples(run: Run, runs: int) -> str:
    grids = run.grids()
    count = min(6, max(2, _PICTURES // runs), len(grids))
    # Spread evenly, the first and the last among them.
    places = sorted({round(index * (len(grids) - 1) / max(count - 1, 1)) for index in range(count)})
    shown = [(run.path / "reals.png", "real")] + [(grids[each], f"step {int(grids[each].stem):,}") for each in places]
    figures = []
    for path, caption in shown:
        with suppress(UserError):  # a picture that is damaged, or not there
            figures.append(
                f"<figure>{_image('image/webp', _small(path), caption)}<figcaption>{caption}</figcaption></figure>"
            )
    return f'<div class="samples">{"".join(figures)}</div>' if figures else "<p>There are none yet.</p>"


def _small(path: Path) -> bytes:
    """Return a picture as WebP, shrunk, with what it says of where it comes from."""
    image = on_background(ImageReader().read(path)).convert("RGB")
    image.thumbnail((_SIDE, _SIDE), Pillow.Resampling.LANCZOS)
    claims = read_claims(path)
    return drawn(lambda out: save_image(out, image, "WEBP", claims, quality=80))


def _events(found: Comparison, opened: Iterable[Run]) -> str:
    parts = []
    for each, run in zip(found.runs, opened, strict=True):
        if events := run.events():
            items = [
                f"<li{' class=warning' if event['kind'] == 'warning' else ''}>after step {event['step']:,}: "
                f"{_text(event['text'][:500])}</li>"
                for event in events[-200:]
            ]
            parts.append(f"<h3>{_text(each.name)}</h3><ul>{''.join(items)}</ul>")
    return "".join(parts)


def _settings(found: Comparison, opened: Sequence[Run]) -> str:
    if len(opened) > 1:
        return _columns([run.settings for run in found.runs], found) or "<p>None.</p>"
    document = opened[0].document()
    return _columns(
        [flat({key: each for key, each in document.items() if key not in ("environment", "data_spec")})], found
    )


def _columns(tables: Sequence[Mapping[str, Any]], found: Comparison) -> str:
    """Return a table with a column for each run."""
    names = dict.fromkeys(name for table in tables for name in table)
    rows = [
        f"<td>{_text(name)}</td>" + "".join(f"<td>{_text(str(table.get(name, '-'))[:300])}</td>" for table in tables)
        for name in names
    ]
    return _table(["", *(run.name for run in found.runs)], rows) if rows else ""


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{cells}</tr>{lines}</table></div>'


def _image(kind: str, data: bytes, what: str) -> str:
    return f'<img alt="{_text(what)}" src="data:{kind};base64,{b64encode(data).decode()}">'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _text(text: str) -> str:
    return escape(shown(text))
