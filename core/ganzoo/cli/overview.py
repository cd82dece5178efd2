"""What ``ganzoo --help`` says. It imports no typer, which takes as long as all else of this command."""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import suppress

from ganzoo.plugin.registry import BUNDLED, load_registry

__all__ = ["ABOUT", "overview"]

ABOUT = "Train, sample and export generative adversarial networks; every GAN is a plugin."

_WIDEST = 120  # columns
_OPTIONS = {"--version": "Show the version and exit.", "-h, --help": "Show this message and exit."}


def overview() -> str:
    """Return the options of ``ganzoo``, and a line for each command from its spec alone: none of them is imported."""
    commands = {
        name: entry.spec.summary + ("" if entry.distribution == BUNDLED else f"  [{entry.distribution}]")
        for name, entry in load_registry().names("command").items()
    }
    width = min(_columns(), _WIDEST) - 2
    lines = [
        "Usage: ganzoo [OPTIONS] COMMAND [ARGS]...",
        "",
        textwrap.fill(ABOUT, width, initial_indent="  ", subsequent_indent="  "),
    ]
    for title, rows in (("Options", _OPTIONS), ("Commands", commands)):
        indent = max(map(len, rows)) + 2
        lines += ["", f"{title}:"]
        for name, text in rows.items():
            beside = textwrap.wrap(text, max(width - indent - 2, 20)) or [""]
            lines += [f"  {name:{indent}}{beside[0]}", *(f"  {'':{indent}}{rest}" for rest in beside[1:])]
    return "\n".join(lines) + "\n"


def _columns() -> int:
    with suppress(ValueError, OSError, AttributeError):  # shutil has this too, and imports every way to compress
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(sys.__stdout__.fileno()).columns)  # type: ignore[union-attr]
    return 80
