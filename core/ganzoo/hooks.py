"""The hooks: everything that a plugin can tell ganzoo, and everything ganzoo tells a plugin.

A plugin is a module with functions marked ``@ganzoo.hookimpl``, named by an entry point of the group
``ganzoo.plugins``. It is imported for every command, so it imports nothing heavy: it returns specs that name the
classes by string. An implementation may leave out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pluggy

from ganzoo.errors import UserError

if TYPE_CHECKING:
    from ganzoo.config import Config
    from ganzoo.trainer import Trainer

__all__ = ["HOOK_API", "KINDS", "Hooks", "Kind", "Spec", "hookimpl"]

HOOK_API = 1
"""The version of the hooks below. A plugin module that sets ``HOOK_API`` to a higher number is refused."""

Kind = Literal["model", "loss", "regularizer", "dataset", "metric", "format", "sink", "pretrained"]
KINDS: tuple[Kind, ...] = get_args(Kind)

hookspec = pluggy.HookspecMarker("ganzoo")
hookimpl = pluggy.HookimplMarker("ganzoo")
"""Marks a function of a plugin module as the implementation of the hook of that name."""


@dataclass(frozen=True)
class Spec:
    """One thing that a plugin offers.

    ``target`` is ``"package.module:Name"``, imported only when the thing is used. By kind it names a subclass of
    :class:`~ganzoo.Trainer` (model), :class:`~ganzoo.Loss`, :class:`~ganzoo.Regularizer`, :class:`~ganzoo.Dataset`,
    :class:`~ganzoo.Metric` or :class:`~ganzoo.Format` (its key is the file suffix); a ``"sink"`` is a function like
    :class:`~ganzoo.Sink` (its key is the file suffix, or ``folder``); for ``"pretrained"`` it is
    ``"package:path/in/package.onnx"``, a model file that the package ships. ``defaults`` are settings laid over those
    of the class, so that a model that differs from another in its settings alone is a spec and not a file.
    """

    kind: Kind
    key: str
    summary: str
    target: str
    paper: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind of {self.key!r} is one of {', '.join(KINDS)}, not {self.kind!r}")
        if not self.key or any(not (char.isalnum() or char in "_-.") for char in self.key):
            raise ValueError(f"a key is made of letters, digits and _ - . , not {self.key!r}")
        module, colon, name = self.target.partition(":")
        if not (module and colon and name):
            raise ValueError(f"the target of {self.key!r} is 'package.module:Name', not {self.target!r}")

    def load(self) -> Any:
        """Import and return the target.

        Raises :class:`UserError` if it cannot be imported: the plugin's failure, in one sentence.
        """
        module, _, name = self.target.partition(":")
        try:
            return getattr(import_module(module), name)
        except Exception as error:
            raise UserError(
                f"{self.kind} {self.key!r} cannot be loaded from {self.target}: {type(error).__name__}: {error}"
            ) from error


class Hooks:
    """The hook specifications."""

    @hookspec
    def ganzoo_specs(self) -> Iterable[Spec]:
        """Return the specs of what this plugin offers."""
        raise NotImplementedError

    @hookspec
    def ganzoo_fit_start(self, run: Path, config: Config, trainer: Trainer, step: int) -> None:
        """Training starts in the run folder, or goes on at the step."""

    @hookspec
    def ganzoo_log(self, run: Path, step: int, metrics: Mapping[str, float]) -> None:
        """A line has been added to metrics.jsonl: the means since the line before, and metrics when they are due."""

    @hookspec
    def ganzoo_samples(self, run: Path, step: int, path: Path) -> None:
        """A sample sheet has been drawn."""

    @hookspec
    def ganzoo_checkpoint(self, run: Path, step: int, path: Path) -> None:
        """A checkpoint is complete on disk."""

    @hookspec
    def ganzoo_fit_end(self, run: Path, step: int, outcome: Literal["done", "interrupted", "failed"]) -> None:
        """Training has ended; the run folder is closed."""
