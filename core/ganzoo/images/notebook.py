"""What notebooks show of a run and of a model: a few facts beside pictures, in one piece of HTML."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from ganzoo.errors import GanzooError
from ganzoo_runtime.text import shown

__all__ = ["as_html", "drawn"]

_HEIGHT = 240  # pixels of a picture on the page


def drawn(draw: Callable[[Path], object]) -> bytes:
    """Return the .png that ``draw`` writes to the path it is given; nothing if it refuses.

    What is shown unasked must not end in a traceback: a network that takes images has nothing to draw.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "drawn.png")
        try:
            draw(path)
        except (GanzooError, OSError):
            return b""
        return path.read_bytes()


def as_html(title: str, facts: Mapping[str, str], pictures: Mapping[str, bytes]) -> str:
    """Return HTML with a title, a table of facts, and the .png pictures by what they show; empty ones are left out."""
    cells = [
        f"<tr><th style='text-align: left'>{_text(name)}</th><td style='text-align: left'>{_text(fact)}</td></tr>"
        for name, fact in facts.items()
        if fact
    ]
    images = [
        f"<img alt='{_text(name)}' style='height: {_HEIGHT}px' src='data:image/png;base64,{b64encode(png).decode()}'>"
        for name, png in pictures.items()
        if png
    ]
    return f"<div><b>{_text(title)}</b><table>{''.join(cells)}</table>{' '.join(images)}</div>"


def _text(text: str) -> str:
    return escape(shown(text))
