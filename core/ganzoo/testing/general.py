"""Checks of every kind of plugin: discovery, what the spec names, and the schema of its settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from inspect import isfunction, signature
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel

from ganzoo.config.merging import parse_set
from ganzoo.config.validation import validate
from ganzoo.configured import Find, Named
from ganzoo.errors import UserError
from ganzoo.plugin.isolation import said
from ganzoo.plugin.loading import STRICT
from ganzoo.plugin.registry import Entry, Registry
from ganzoo.testing.results import Check, Fault, Skip

__all__ = ["build_settings", "checks", "given"]

_DISCOVER = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
from ganzoo.plugin.discovery import discover
from ganzoo.plugin.loading import DISABLE
from ganzoo.plugin.registry import load_registry
found = [f"{each.name}/{name}" for each in discover(sys.path) for name, _ in each.plugins or ()]
os.environ[DISABLE] = ",".join(name for name in found if name not in sys.argv[2:])
names = [entry.name for entry in load_registry().specs()]
print(json.dumps({"names": names, "torch": "torch" in sys.modules}))
"""

_HELP = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from ganzoo.cli import main
main([sys.argv[2], "--help"])
print(json.dumps({"torch": "torch" in sys.modules}))
"""


def checks(registry: Registry, entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks that every kind has."""
    kind = entry.spec.kind
    yield Check("discovery", lambda: discovery(registry, entry))
    yield Check("import", lambda: imported(registry, entry))
    if kind == "pretrained":
        yield Check("file", lambda: loads(entry))
        return
    if kind == "sink":
        yield Check("function", lambda: called(entry), vital=True)
        return
    if kind == "importer":
        yield Check("function", lambda: reads(entry), vital=True)
        yield Check("refusal", lambda: refuses(entry))
        return
    if kind == "command":
        yield Check("command", lambda: documented(entry), vital=True)
        yield Check("help", lambda: helps(entry))
        return
    yield Check("class", lambda: loads(entry), vital=True)
    if kind in ("field", "format"):
        return
    yield Check("schema", lambda: schema(entry))
    if kind != "model":
        yield Check("settings", lambda: settings(entry, sets), vital=True)


def discovery(registry: Registry, entry: Entry) -> None:
    """In a fresh process, with every other plugin disabled, the plugin is found and torch is not imported."""
    own = [p.full_name for p in registry.plugins if p.distribution == entry.distribution and entry.spec in p.specs]
    found = fresh(_DISCOVER, *own)
    if entry.name not in found["names"]:
        raise Fault(f"a fresh process does not find {entry.name}")
    if found["torch"]:
        raise Fault("listing the plugin imports torch; a plugin module names its classes by string and imports none")


def fresh(code: str, *arguments: str) -> Any:
    """Run code in a fresh process with this one's path, and return the JSON of the last line that it prints."""
    command = [sys.executable, "-c", code, json.dumps(sys.path), *arguments]
    environment = {**os.environ, STRICT: "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()[-1:] or [f"exit code {error.returncode}"]
        raise Fault(f"it fails in a fresh process: {said[0][:300]}") from None
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        raise Fault(f"it fails in a fresh process: {error}") from None


def imported(registry: Registry, entry: Entry) -> None:
    """Importing the plugin's module and the target changes nothing of the process that is not the plugin's own."""
    with suppress(UserError):  # the next check reports what cannot be imported
        entry.spec.load()
    plugins = [p for p in registry.plugins if p.distribution == entry.distribution and entry.spec in p.specs]
    for module, changes in [*((p.module, p.changes) for p in plugins), (entry.spec.target, entry.spec.changes)]:
        if changes:
            raise Fault(f"{module} {said(changes)}; ganzoo puts it back, and other programs do not")


def loads(entry: Entry) -> None:
    """The target can be imported and is what its kind asks for; the spec has a summary."""
    entry.spec.load()
    if not entry.spec.summary.strip():
        raise Fault("the spec has no summary, which 'ganzoo list' shows")


def called(entry: Entry) -> None:
    """The sink is a function that can be called as :class:`ganzoo.Sink` says."""
    try:
        signature(entry.spec.load()).bind(Path(), (), 1, {})
    except TypeError as error:
        raise Fault(f"{entry.spec.target} is no function (path, pieces, n, signature): {error}") from None


def reads(entry: Entry) -> None:
    """The importer is a function of what a file holds."""
    try:
        signature(entry.spec.load()).bind({})
    except TypeError as error:
        raise Fault(f"{entry.spec.target} is no function (state): {error}") from None


def refuses(entry: Entry) -> None:
    """The importer says in a sentence what is wrong with files of other programs."""
    others: tuple[object, ...] = ({}, {"state_dict": {}}, [], None, 1)
    for state in others:
        try:
            made = entry.spec.load()(state)
        except UserError:
            continue
        except Exception as error:
            raise Fault(f"for a file that holds {state!r} it raises {type(error).__name__} and not UserError") from None
        raise Fault(f"of a file that holds {state!r} it makes {made!r:.80}, and does not raise UserError")


def documented(entry: Entry) -> None:
    """The command can be imported, and says what it does: a function by its docstring, a group by its help."""
    loads(entry)
    target = entry.spec.load()
    text = target.__doc__ if isfunction(target) else getattr(getattr(target, "info", None), "help", "")
    if not isinstance(text, str) or not text.strip():
        raise Fault(f"{entry.spec.target} has no docstring, which 'ganzoo {entry.spec.key} --help' shows")


def helps(entry: Entry) -> None:
    """In a fresh process, typer understands the command's annotations; to show its help imports no torch."""
    if fresh(_HELP, entry.name)["torch"]:
        raise Fault("its help imports torch; a command imports what is heavy inside of its function")


def schema(entry: Entry) -> None:
    """Every setting, nested ones too, has a description, and an unknown one is refused."""
    for path, model in _models(entry.spec.load().Config):
        if model.model_config.get("extra") != "forbid":
            raise Fault(f"{model.__name__} takes unknown settings; give it model_config = ConfigDict(extra='forbid')")
        for name, field in model.model_fields.items():
            if not field.description:
                raise Fault(f"the setting {path}{name} of {model.__name__} has no description")


def settings(entry: Entry, sets: Sequence[str]) -> None:
    """The defaults are valid, and written as TOML and read back they are the same."""
    built = build_settings(entry, sets)
    written = tomli_w.dumps(built.model_dump(mode="json", exclude_none=True))
    if validate(type(built), entry.spec.kind, tomllib.loads(written), find=_finding(entry)) != built:
        raise Fault("the settings, written as TOML and read back, are not the same")


def build_settings(entry: Entry, sets: Sequence[str]) -> BaseModel:
    """Return the settings of anything but a model; raises :class:`Skip` if one that is required is missing."""
    config: type[BaseModel] = entry.spec.load().Config
    name = {"name": entry.recorded} if issubclass(config, Named) else {}
    values = {**entry.spec.defaults, **given(sets), **name}
    missing = [name for name, field in config.model_fields.items() if field.is_required() and name not in values]
    if missing:
        raise Skip(f"it has settings without a default; give {' and '.join(f'--set {name}=...' for name in missing)}")
    return validate(config, entry.spec.kind, values, find=_finding(entry))


def _finding(entry: Entry) -> Find:
    """Return what finds the entry by any name."""
    return lambda kind, name: entry


def given(sets: Sequence[str]) -> Mapping[str, Any]:
    """Return ``name=value`` assignments as settings."""
    values: dict[str, Any] = {}
    for text in sets:
        values |= parse_set(text)
    return values


def _models(config: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, config
    for name, field in config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _models(field.annotation, f"{path}{name}.")
