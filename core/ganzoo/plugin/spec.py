"""Specs: what a plugin offers, with the class named by a string and imported only when it is used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, get_args

from ganzoo.errors import UserError, sentence
from ganzoo.plugin.discovery import BUNDLED
from ganzoo.plugin.isolation import isolated

__all__ = ["KINDS", "SAID", "Kind", "Spec"]

Kind = Literal[
    "model",
    "loss",
    "regularizer",
    "augmentation",
    "optimizer",
    "schedule",
    "dataset",
    "metric",
    "tracker",
    "field",
    "format",
    "sink",
    "pretrained",
    "importer",
    "command",
]

KINDS: tuple[Kind, ...] = get_args(Kind)

SAID: Mapping[Kind, str] = {kind: kind for kind in KINDS} | {
    "dataset": "data set",
    "field": "kind of field",
    "pretrained": "pretrained model",
}
"""The kinds as they are written in messages."""

_BASES: Mapping[Kind, tuple[str, ...]] = {
    "model": ("Trainer",),
    "loss": ("Loss",),
    "regularizer": ("Regularizer", "GeneratorRegularizer"),
    "augmentation": ("Augmentation",),
    "optimizer": ("Optimizer",),
    "schedule": ("Schedule",),
    "dataset": ("Dataset",),
    "metric": ("Metric",),
    "tracker": ("Tracker",),
    "field": ("Field",),
    "format": ("Format",),
}
"""What the target is a subclass of, by kind; those of the other kinds are no classes."""

_CHANGES: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Spec:
    """One thing that a plugin offers.

    ``target`` is ``"package.module:Name"``, imported only when the thing is used. By kind it names a subclass of
    :class:`~ganzoo.Trainer` (model), :class:`~ganzoo.Loss`, :class:`~ganzoo.Regularizer`,
    :class:`~ganzoo.Augmentation`, :class:`~ganzoo.Optimizer`, :class:`~ganzoo.Schedule`, :class:`~ganzoo.Dataset`,
    :class:`~ganzoo.Metric`, :class:`~ganzoo.Tracker`, :class:`~ganzoo.Field` (its key is the class's ``kind``) or
    :class:`~ganzoo.Format` (its key is the file suffix); a ``"sink"`` is a function like :class:`~ganzoo.Sink` (its key
    is the file suffix, or ``folder``); an ``"importer"`` is a function that makes :class:`~ganzoo.Imported` of what a
    file of another program holds; a ``"command"`` is a function with typer's annotations, or a ``typer.Typer`` for
    a group of commands (its key is what is typed after ``ganzoo``); for ``"pretrained"`` it is
    ``"package:path/in/package"``, a model file that the package ships. ``defaults`` are settings laid over those of the
    class, so that a model that differs from another in its settings alone is a spec and not a file; of a field they are
    arguments that the conformance kit makes one with. ``plugin`` is who offers it: the registry fills it in.
    """

    kind: Kind
    key: str
    summary: str
    target: str
    paper: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    plugin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind of {self.key!r} is one of {', '.join(KINDS)}, not {self.kind!r}")
        if not self.key or any(not (char.isalnum() or char in "_-.") for char in self.key):
            raise ValueError(f"a key is made of letters, digits and _ - . , not {self.key!r}")
        module, colon, name = self.target.partition(":")
        if not (module and colon and name):
            raise ValueError(f"the target of {self.key!r} is 'package.module:Name', not {self.target!r}")

    def __str__(self) -> str:
        offered = f" of plugin {self.plugin}" if self.plugin else ""
        return f"the {SAID[self.kind]} {self.key!r}{offered}"

    @property
    def changes(self) -> tuple[str, ...]:
        """What importing the target changed in this process, and was put back; nothing if that is still to come."""
        return _CHANGES.get(self.target.partition(":")[0], ())

    def load(self) -> Any:
        """Import and return the target; of a pretrained model it is the file, as an importlib resource.

        Raises :class:`UserError` in one sentence if the target cannot be imported or does not fit its kind, which is a
        mistake of the plugin.
        """
        bases = _bases(self.kind)  # first: what importing these changes must not be reported as the plugin's change
        try:
            target = self._target()
        except Exception as error:
            raise UserError(f"{self} cannot be loaded from {self.target}: {sentence(error)}") from error
        fault = _fault(self.kind, target, bases)
        if fault and self.kind == "pretrained" and self.plugin.startswith(f"{BUNDLED}/"):
            raise UserError(f"{self} is one of those that come in a package of their own: pip install '{BUNDLED}[zoo]'")
        if fault:
            raise UserError(f"{self} cannot be used: {self.target} {fault}")
        return target

    def _target(self) -> Any:
        module, _, name = self.target.partition(":")
        if self.kind == "pretrained":
            from importlib.resources import files

            with isolated():
                return files(module).joinpath(*name.split("/"))
        if module in sys.modules and name in vars(sys.modules[module]):
            return getattr(sys.modules[module], name)
        with isolated() as changes:
            target = getattr(import_module(module), name)
        _CHANGES[module] = tuple(changes)
        return target


def _bases(kind: Kind) -> tuple[type[Any], ...]:
    return tuple(getattr(import_module("ganzoo"), name) for name in _BASES.get(kind, ()))


def _fault(kind: Kind, target: Any, bases: tuple[type[Any], ...]) -> str:
    """Return why a target cannot be used, as the end of a sentence about it; empty if it can."""
    if kind == "pretrained":
        return "" if target.is_file() else "is not there"
    if kind in ("sink", "importer", "command"):
        return "" if callable(target) else f"is a {type(target).__name__} and not a function"
    named = " or ".join(f"ganzoo.{base.__name__}" for base in bases)
    if not isinstance(target, type):
        return f"is a {type(target).__name__} and not a subclass of {named}"
    base = next((base for base in bases if issubclass(target, base)), None)
    if base is None:
        return f"is not a subclass of {named}"
    if left := sorted(getattr(target, "__abstractmethods__", ())):
        return f"does not implement {', '.join(left)}"
    if hasattr(base, "Config"):
        config = getattr(target, "Config", None)
        if not (isinstance(config, type) and issubclass(config, base.Config)):
            return f"has a Config that is not a subclass of ganzoo.{base.Config.__name__}"
    return ""
