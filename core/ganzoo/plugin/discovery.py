"""Which installed distributions have plugins: their entry points of the group ``ganzoo.plugins``.

It does what ``importlib.metadata`` does, for folders and zip files on a path. That one reads a distribution's metadata
with the package ``email``, and its import takes longer than all of this.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BUNDLED", "Distribution", "discover", "normalized"]

GROUP = "ganzoo.plugins"
BUNDLED = "torch-ganzoo"
"""The distribution whose plugins come first and whose short names win."""

_METADATA = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}


@dataclass(frozen=True)
class Distribution:
    """A distribution that has plugins, or the bundled one; the name is spelled as PyPI normalizes it."""

    name: str
    version: str
    plugins: tuple[tuple[str, str], ...] | None
    """Names and modules, sorted; None if its entry_points.txt cannot be read."""


def discover(path: Iterable[str]) -> list[Distribution]:
    """Return the distributions on the path that have plugins: the bundled one first, then by name.

    If a distribution is there twice, the first one counts, even if it has no plugins.
    """
    seen: dict[str, Distribution | None] = {}
    for name, folder, metadata in _folders(path):
        if name not in seen:
            # Unreadable metadata of any installed package must not stop ganzoo; pip reports it.
            seen[name] = None
            with suppress(Exception):
                seen[name] = _read(name, folder, metadata)
    found = [distribution for distribution in seen.values() if distribution is not None]
    return sorted(found, key=lambda each: (each.name != BUNDLED, each.name))


def normalized(distribution: str) -> str:
    """Return the name as PyPI normalizes it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _folders(path: Iterable[str]) -> Iterator[tuple[str, Any, str]]:
    """Yield each distribution's name, the folder of its metadata, and the name of the file there that has its name."""
    for entry in dict.fromkeys(path):
        with suppress(Exception):  # a folder that is gone, a file that is no zip file
            if os.path.isfile(entry):
                from zipfile import Path as ZipPath

                folders: Iterable[Any] = ZipPath(entry).iterdir()
            else:
                names = sorted(os.listdir(entry or "."))
                folders = (Path(entry, name) for name in names if name.endswith(tuple(_METADATA)))
            for folder in folders:
                stem, suffix = os.path.splitext(folder.name)
                if suffix in _METADATA:
                    yield normalized(stem.partition("-")[0]), folder, _METADATA[suffix]


def _read(name: str, folder: Any, metadata: str) -> Distribution | None:
    entry_points = folder / "entry_points.txt"
    text = entry_points.read_text("utf-8") if entry_points.is_file() else ""
    if GROUP not in text and name != BUNDLED:
        return None
    lines = (folder / metadata).read_text("utf-8").partition("\n\n")[0].splitlines()
    fields = {key: value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    if normalized(fields["Name"]) != name:  # remains of a distribution that pip could not remove completely
        return None
    try:
        plugins = tuple(sorted(_entries(text)))
    except ValueError:
        plugins = None
    return Distribution(name, fields.get("Version") or "?", plugins)


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and modules of the group; raises ValueError for a line that is none of them."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == GROUP and line and not line.startswith("#"):
            name, module = line.split("=", 1)
            yield name.strip(), module.strip()
