"""``ganzoo list``, ``info``, ``plugins``, ``doctor`` and ``check``: commands that only read."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ganzoo.errors import UserError, did_you_mean
from ganzoo.terminal import print
from ganzoo_runtime.text import counted

__all__ = ["check", "doctor", "info", "list_", "plugins"]

_PREFIXES = {
    "model": "model.",
    "dataset": "data.",
    "loss": "loss.",
    "optimizer": "model.optimizer.",
    "schedule": "lr_schedule.",
    "augmentation": "",
}
"""What comes before the names of settings, by kind."""

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(help="model, loss, optimizer, dataset, metric, command ...; left out: all."),
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """List what the installed plugins offer."""
    from ganzoo.config.describing import describe
    from ganzoo.inference.zoo import pulled
    from ganzoo.plugin.registry import BUNDLED, load_registry
    from ganzoo.plugin.spec import KINDS

    plurals = {"losses": "loss", **{f"{known}s": known for known in KINDS}}
    if kind is not None and plurals.get(kind, kind) not in KINDS:
        raise UserError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    kinds = [known for known in KINDS if kind is None or known == plurals.get(kind, kind)]
    registry = load_registry()
    entries = [entry for known in kinds for entry in registry.specs(known)]
    entries += pulled() if "pretrained" in kinds else []
    if as_json:
        print(json.dumps([describe(entry) for entry in entries], indent=2))
        return
    width = max((len(entry.spec.key) for entry in entries), default=0)
    for known in kinds:
        rows = [entry for entry in entries if entry.spec.kind == known]
        if rows and kind is None:
            print(f"{known}:")
        for entry in rows:
            indent = "  " if kind is None else ""
            foreign = "" if entry.distribution == BUNDLED else f"  [{entry.distribution}]"
            print(f"{indent}{entry.spec.key:{width}}  {entry.spec.summary}{foreign}")


def info(
    name: Annotated[str, typer.Argument(help="The key of a model, loss, data set ...; kind:key; or zoo:NAME.")],
    as_json: _AsJson = False,
) -> None:
    """Show a model, loss or data set: paper, settings, defaults."""
    from ganzoo.config.describing import describe
    from ganzoo.plugin.registry import load_registry
    from ganzoo.runs.naming import ZOO

    entries = load_registry().named(f"pretrained:{name.removeprefix(ZOO)}" if name.startswith(ZOO) else name)
    described = [describe(entry, settings=True) for entry in entries]
    if as_json:
        print(json.dumps(described, indent=2, default=str))
        return
    for document in described:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    kind, key = document["kind"], document["key"]
    print(f"{kind} {document['name']} {document['version']}\n  {document['summary']}")
    if document["paper"]:
        print(f"  paper: {document['paper']}")
    for what, value in document.get("brings", {}).items():
        print(f"  {what}: {_text(value)}")
    if document.get("better"):
        print(f"  better: {', '.join(f'{name} {way}'.strip() for name, way in document['better'].items())}")
    if kind == "pretrained":
        print(f"  sample from it with: ganzoo sample zoo:{key}")
    if document.get("settings"):
        inside = kind == "augmentation"  # one of several in a list, so that none can be set from outside
        print(f"  settings, {'for its table in model.augment.policy' if inside else 'for --set NAME=VALUE'}:")
        _print_settings(document["settings"], _PREFIXES.get(kind, f"{kind}.{key}."))
    if document.get("defaults"):
        print("  trained with, unless you say otherwise:")
        _print_table(document["defaults"])
    for preset, table in document.get("presets", {}).items():
        print(f"  --preset {preset}:")
        _print_table(table)
    if document.get("training"):
        print("  settings of every training, and their defaults:")
        _print_settings(document["training"], "")


def _print_settings(rows: Mapping[str, Any], prefix: str) -> None:
    width = max(map(len, rows))
    values = [_text(row["default"], "required" if row["required"] else "unset") for row in rows.values()]
    indent = min(max(len(value) for value in values), 20)
    for (name, row), value in zip(rows.items(), values, strict=True):
        choices = f" ({', '.join(row['choices'])})" if row["choices"] else ""
        print(f"    {prefix}{name:{width}}  {value:{indent}}  {row['description']}{choices}".rstrip())


def _print_table(table: Mapping[str, Any]) -> None:
    from ganzoo.config.merging import flat

    for name, value in flat(table).items():
        print(f"    {name}={_text(value)}")


def _text(value: Any, nothing: str = "") -> str:
    """Write a value as --set takes it."""
    if value is None:
        return nothing
    if value == {}:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def plugins(as_json: _AsJson = False) -> None:
    """List the installed plugins, and why one was not loaded."""
    from ganzoo.plugin.isolation import said
    from ganzoo.plugin.registry import load_registry

    loaded = load_registry().plugins
    if as_json:
        rows = [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "status": plugin.status,
                "reason": plugin.reason,
                "changes": plugin.changes,
                "offers": [f"{spec.kind}:{spec.key}" for spec in plugin.specs],
            }
            for plugin in loaded
        ]
        print(json.dumps(rows, indent=2))
        return
    for plugin in loaded:
        offers = ", ".join(spec.key for spec in plugin.specs) or "hooks only"
        print(f"{plugin}: {plugin.status}: {plugin.reason or offers}")
        if plugin.changes:
            print(f"  {said(plugin.changes)}; ganzoo has put it back")


def check(
    name: Annotated[str, typer.Argument(help="The key of what is checked; or kind:key.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the checked thing; may be repeated.")
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Run the conformance checks on what a plugin offers."""
    from ganzoo.plugin.registry import load_registry
    from ganzoo.testing import run_checks

    failed = 0
    results = []
    for result in run_checks(load_registry(), name, set_ or ()):
        results.append({"check": result.name, "outcome": result.outcome, "detail": result.detail})
        failed += result.outcome == "failed"
        if not as_json:
            print(f"{result.outcome:7} {result.name}{': ' + result.detail if result.detail else ''}", flush=True)
    if as_json:
        print(json.dumps(results, indent=2))
    if failed:
        print(f"{failed} of {counted(len(results), 'check')} failed", file=sys.stderr)
        raise typer.Exit(1)


def doctor(as_json: _AsJson = False) -> None:
    """Tell what is installed, what it runs on, and what is wrong."""
    from ganzoo.cli.doctor import examine

    report = examine()
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        width = max(len(key) for key in report["facts"])
        for key, value in report["facts"].items():
            print(f"{key:{width}}  {value}")
        for problem in report["problems"]:
            print(f"problem: {problem}")
        if not report["problems"]:
            print("no problems found")
    if report["problems"]:
        raise typer.Exit(1)
