"""The hooks: what a plugin offers to ganzoo, and the events that ganzoo reports to plugins.

A plugin is a module with functions marked ``@ganzoo.hookimpl``, named by an entry point of the group
``ganzoo.plugins``. It is imported for every command, so it imports nothing heavy: it returns specs that name the
classes by string. An implementation may leave out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from ganzoo.plugin.spec import Spec

if TYPE_CHECKING:
    from ganzoo.gan.trainer import Trainer

__all__ = ["HOOK_API", "Hooks", "hookimpl"]

HOOK_API = 1
"""The version of the hooks below. A plugin module that sets ``HOOK_API`` to a higher number is refused."""

hookspec = pluggy.HookspecMarker("ganzoo")

hookimpl = pluggy.HookimplMarker("ganzoo")
"""Marks a function of a plugin module as the implementation of the hook of that name."""


class Hooks:
    """The hook specifications."""

    @hookspec
    def ganzoo_specs(self) -> Iterable[Spec]:
        """Return the specs of what this plugin offers."""
        raise NotImplementedError

    @hookspec
    def ganzoo_fit_start(self, run: Path, config: Mapping[str, Any], trainer: Trainer, step: int) -> None:
        """Training starts in the run folder, or goes on at the step; ``config`` is what config.toml says of it."""

    @hookspec
    def ganzoo_log(self, run: Path, step: int, metrics: Mapping[str, float]) -> None:
        """A line has been added to metrics.jsonl: the means since the line before, and metrics when they are due."""

    @hookspec
    def ganzoo_samples(self, run: Path, step: int, path: Path) -> None:
        """A grid of samples has been drawn."""

    @hookspec
    def ganzoo_checkpoint(self, run: Path, step: int, path: Path) -> None:
        """A checkpoint is complete on disk."""

    @hookspec
    def ganzoo_fit_end(self, run: Path, step: int, outcome: Literal["done", "interrupted", "failed"]) -> None:
        """Training has ended; the run folder is closed."""
