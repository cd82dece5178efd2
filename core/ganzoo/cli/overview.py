"""What ``ganzoo --help`` says.

It imports no typer, which takes as long as all else of this command; and no plugin, if none has been installed, removed
or changed since the commands were last found. They are then known from a file in the cache.
"""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import suppress
from typing import Any
from zlib import crc32

from ganzoo import __version__
from ganzoo_runtime.cache import cache_folder

__all__ = ["ABOUT", "overview"]

ABOUT = "Train, sample and export generative adversarial networks; every GAN is a plugin."

_WIDEST = 120  # columns
_OPTIONS = {"--version": "Show the version and exit.", "-h, --help": "Show this message and exit."}


def overview() -> str:
    """Return the options of ``ganzoo``, and a line for each command from its spec alone: none of them is imported."""
    commands = _commands()
    width = min(_columns(), _WIDEST) - 2
    lines = [
        textwrap.fill("Usage: ganzoo [OPTIONS] COMMAND [ARGS]...", width + 2, subsequent_indent="  "),
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


def _commands() -> dict[str, str]:
    """Return each command's summary by its name: as remembered, or from the plugins, and then they are remembered."""
    import json

    # A file for each environment, which would otherwise take turns in forgetting.
    path, installed = cache_folder() / f"commands-{crc32(sys.prefix.encode()):08x}.json", _installed()
    with suppress(Exception):  # there is none, or it is damaged
        kept = json.loads(path.read_bytes())
        if kept["installed"] == installed and all(_stamp(file) == stamp for file, stamp in kept["modules"].items()):
            return {str(name): str(summary) for name, summary in kept["commands"].items()}

    from ganzoo.plugin.registry import BUNDLED, load_registry

    registry = load_registry()
    commands = {
        name: entry.spec.summary + ("" if entry.distribution == BUNDLED else f"  [{entry.distribution}]")
        for name, entry in registry.names("command").items()
    }
    # What a plugin that failed is missing may come without a trace in what is compared.
    if all(plugin.status != "failed" for plugin in registry.plugins):
        packages = {plugin.module.partition(".")[0] for plugin in registry.plugins if plugin.status == "loaded"}
        files = [
            getattr(part, "__file__", None) for name, part in sys.modules.items() if name.partition(".")[0] in packages
        ]
        kept = {"installed": installed, "modules": {file: _stamp(file) for file in files if file}, "commands": commands}
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        with suppress(OSError):  # a full disk, a folder that is not ours
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(kept), encoding="utf-8")  # ganzoo.files would import much more than all else
            beside.replace(path)
    return commands


def _installed() -> list[Any]:
    """Return what decides which plugins there are; a folder's stamp changes with the distributions in it."""
    disabled = [os.environ.get(name) for name in ("GANZOO_DISABLE_PLUGINS", "GANZOO_STRICT_PLUGINS")]
    return [__version__, sys.version, disabled, [[entry, _stamp(entry or ".")] for entry in sys.path]]


def _stamp(path: str) -> list[int]:
    """Return what changes when a file or a folder does; empty if it is not there."""
    with suppress(OSError):
        found = os.stat(path)
        return [found.st_mtime_ns, found.st_size]
    return []


def _columns() -> int:
    columns = 0
    with suppress(ValueError, OSError, AttributeError):  # shutil has this too, and imports every way to compress
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size(sys.__stdout__.fileno()).columns)  # type: ignore[union-attr]
    return max(columns, 20) if columns > 0 else 80  # some terminals do not know their size, and say 0
