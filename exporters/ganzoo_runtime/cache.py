"""The folder for what can be made again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return where ganzoo keeps what it can make again: $GANZOO_CACHE, $XDG_CACHE_HOME/ganzoo or ~/.cache/ganzoo."""
    if folder := os.environ.get("GANZOO_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ganzoo"
