"""Writes docs/hooks.md, commands.md, api.md, gallery.md and the arrows in architecture.md from the code and the zoo.

With ``--check`` it only says whether they are what it would write.

Usage: python docs/generate.py [--check]
"""

import inspect
import json
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import grimp

import ganzoo
from ganzoo import HOOK_API, Spec
from ganzoo.plugin.hooks import Hooks
from ganzoo.plugin.spec import KINDS
from ganzoo_zoo.plugin import ganzoo_specs as zoo_specs

HERE = Path(__file__).parent
PACKAGES = ("ganzoo_runtime", "ganzoo", "ganzoo_plugins", "ganzoo_exporters", "ganzoo_zoo")
_ROOMS = {
    "training": "Training",
    "inference": "Using what was trained",
    "sharing": "Sharing",
    "runs": "Runs",
    "gan": "What models, losses, metrics and trackers extend",
    "fields": "Kinds of samples",
    "data": "Data",
    "images": "Images",
    "config": "Settings",
    "plugin": "Plugins",
    "errors": "Errors",
}
"""The parts of docs/api.md, in this order, by the room of the core that the names are in."""

_FROM, _TO = "<!-- Drawn by docs/generate.py from the imports. -->", "<!-- -->"


def hooks() -> str:
    """Return the hook reference: every hook's signature and docstring."""
    lines = [
        "# Hooks",
        "",
        "<!-- Written by docs/generate.py from core/ganzoo/plugin/hooks.py. -->",
        "",
        f"This is `HOOK_API` {HOOK_API}. An implementation is a function of the same name in a plugin's module, marked",
        "`@ganzoo.hookimpl`; it may leave out arguments that it does not need.",
        "[Hooks that follow a training](plugins/hooks.md) shows one in use.",
        "",
        "## `Spec`",
        "",
        inspect.getdoc(Spec) or "",
        "",
        f"Kinds: {', '.join(f'`{kind}`' for kind in KINDS)}.",
    ]
    for name, hook in vars(Hooks).items():
        if name.startswith("ganzoo_"):
            signature = inspect.signature(hook)
            shown = signature.replace(parameters=list(signature.parameters.values())[1:])
            lines += ["", f"## `{name}`", "", "```python", f"def {name}{shown}", "```", "", inspect.getdoc(hook) or ""]
    return "\n".join(lines).replace(":class:`~", "`").replace(":class:`", "`") + "\n"


def commands() -> str:
    """Return the command reference, as typer documents it."""
    run = [sys.executable, "-m", "typer", "ganzoo.cli", "utils", "docs", "--name", "ganzoo", "--title", "Commands"]
    text = subprocess.run(run, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def api() -> str:
    """Return the page of the public names, which mkdocstrings fills with their signatures and docstrings."""
    lines = [
        "# API",
        "",
        "<!-- Written by docs/generate.py from the public names of ganzoo; the site has their docstrings here. -->",
        "",
        "Everything is imported from `ganzoo`. [From Python](python.md) shows it in use; the docstrings are those that",
        "`help(ganzoo.NAME)` prints.",
    ]
    found: dict[str, list[str]] = {}
    for name, module in sorted(ganzoo._MODULE_OF.items()):
        found.setdefault(module.split(".")[0], []).append(f"ganzoo.{module}.{name}")
    found["plugin"] += ["ganzoo.plugin.spec.Spec", "ganzoo.plugin.hooks.hookimpl"]
    for room, title in _ROOMS.items():
        lines += ["", f"## {title}"]
        for target in found.pop(room):
            lines += ["", f"::: {target}"]
    assert not found, f"_ROOMS has no title for {', '.join(found)}"
    for module in ganzoo._ROOMS:
        lines += ["", f"## `ganzoo.{module}`", "", f"::: ganzoo.{module}", "    options: {show_root_heading: false}"]
    return "\n".join(lines) + "\n"


def rooms() -> set[tuple[str, str]]:
    """Return which room imports which: the core's sub-packages and modules, and the other packages whole."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    arrows = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            arrow = (_room(module), _room(imported))
            of_the_core = imported == "ganzoo" and module.split(".")[0] == "ganzoo"
            if arrow[0] != arrow[1] and arrow[0] != "ganzoo" and not of_the_core:  # the public door leads everywhere
                arrows.add(arrow)
    return arrows


def _room(module: str) -> str:
    package, *parts = module.split(".")
    return ".".join([package, *parts[:1]]) if package == "ganzoo" else package


def diagram() -> str:
    """Return the rooms, each with an arrow to what it imports; arrows that follow from others are left out."""
    arrows = rooms()
    below: dict[str, set[str]] = {
        room: {end for start, end in arrows if start == room} for pair in sorted(arrows) for room in pair
    }
    sortable = {room: sorted(ends) for room, ends in below.items()}  # sets have another order in each process
    order = list(TopologicalSorter(sortable).static_order())  # raises CycleError where the arrows run in a circle
    reached: dict[str, set[str]] = {}
    for room in order:
        reached[room] = below[room].union(*(reached[end] for end in below[room]))
    lines, width = ["```text"], max(map(len, order))
    for start in reversed(order):
        direct = {end for end in below[start] if not any(end in reached[other] for other in below[start])}
        lines += [f"{start:{width}} --> {', '.join(sorted(direct))}"] if direct else []
    return "\n".join([*lines, "```"])


def architecture() -> str:
    """Return docs/architecture.md with the picture as it is now."""
    text = (HERE / "architecture.md").read_text(encoding="utf-8")
    return re.sub(rf"(?<={re.escape(_FROM)}\n).*?(?=\n{re.escape(_TO)})", diagram(), text, flags=re.DOTALL)


def gallery() -> str:
    """Return the page of the zoo: of each model its grid, what it was trained on, its figures and its commands."""
    lines = [
        "# Gallery",
        "",
        "<!-- Written by docs/generate.py from the models in zoo/ganzoo_zoo. -->",
        "",
        "The trained models that come with ganzoo, each trained on a CPU within an hour. [Results](results.md) says",
        "how figures are measured; in brackets is what real images get.",
    ]
    for spec in zoo_specs():
        folder = HERE.parent / "zoo" / "ganzoo_zoo" / spec.key
        card, metrics = ((folder / name).read_text(encoding="utf-8") for name in ("README.md", "metrics.json"))
        config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
        commands = [each for each in re.findall("^    (ganzoo .*)", card, re.MULTILINE) if "--config" not in each]
        lines += [
            "",
            f"## zoo:{spec.key}",
            "",
            f"{spec.summary}.",
            "",
            f"![{spec.key}](../zoo/ganzoo_zoo/{spec.key}/samples.png)",
            "",
        ]
        model, data = (name.rpartition("/")[2] for name in (config["plugin"], config["data"]["name"]))
        lines += [f"`{model}` on `{data}`, {config['steps']:,} steps:"]
        lines += [_figures(json.loads(metrics)), "", *(f"- `{command}`" for command in commands)]
    return "\n".join(lines) + "\n"


def _figures(metrics: dict[str, Any]) -> str:
    real = metrics.get("real", {})
    found = metrics.get("drawn") or metrics.get("rows", [{}])[-1] | {
        name: value for name, value in metrics.items() if type(value) is float and "minutes" not in name
    }
    shown = {name: value for name, value in found.items() if type(value) in (int, float)}
    return ", ".join(
        f"{name} {value:.4g}" + (f" ({real[name]:.4g})" if name in real else "") for name, value in shown.items()
    )


def main() -> None:
    """Write the files, or check them."""
    stale = []
    written = {"hooks.md": hooks(), "commands.md": commands(), "api.md": api(), "gallery.md": gallery()}
    written["architecture.md"] = architecture()
    for path, text in ((HERE / name, text) for name, text in written.items()):
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"docs/{' and docs/'.join(stale)} are stale; run: python docs/generate.py")


if __name__ == "__main__":
    main()
