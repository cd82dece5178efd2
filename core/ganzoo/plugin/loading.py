"""Plugins: which are found, what is checked when one is imported, and what is said of one that fails.

They are loaded by the registry. Two environment variables change this:

``GANZOO_DISABLE_PLUGINS``
    plugins that are not loaded, by distribution, by name or as ``distribution/name``, separated by commas
``GANZOO_STRICT_PLUGINS``
    when 1, the first plugin that cannot be loaded is an error
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Literal

import pluggy

from ganzoo.errors import UserError, did_you_mean, sentence
from ganzoo.plugin.discovery import BUNDLED, Distribution, normalized
from ganzoo.plugin.hooks import HOOK_API, Hooks
from ganzoo.plugin.spec import Spec

__all__ = ["ARGUMENTS", "STRICT", "Plugin", "failed", "hooks_of", "plugins_of", "specs_of"]

DISABLE = "GANZOO_DISABLE_PLUGINS"
STRICT = "GANZOO_STRICT_PLUGINS"

ARGUMENTS = {
    name: tuple(inspect.signature(function).parameters)[1:]
    for name, function in vars(Hooks).items()
    if name.startswith("ganzoo_")
}
"""The arguments of each hook."""


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found, loaded or not. The distribution's name is spelled as PyPI normalizes it."""

    name: str
    distribution: str
    version: str
    module: str
    specs: tuple[Spec, ...] = field(default=(), hash=False)
    status: Literal["loaded", "failed", "disabled"] = "loaded"
    reason: str = ""
    changes: tuple[str, ...] = ()
    """What of the process it changed when it was imported and asked for its specs; all of it has been put back."""

    @property
    def full_name(self) -> str:
        """``distribution/name``."""
        return f"{self.distribution}/{self.name}"

    def __str__(self) -> str:
        return f"{self.full_name} {self.version}"

    @property
    def trouble(self) -> str:
        """Why the plugin is not loaded, as a sentence; empty if it is loaded."""
        if self.status == "failed":
            return f"plugin {self} failed to load: {self.reason}"
        return f"plugin {self} is {self.reason}" if self.status == "disabled" else ""


def plugins_of(distributions: Iterable[Distribution]) -> Iterator[Plugin]:
    """Yield the plugins of the distributions, not loaded yet but for those that never will be."""
    disabled = {normalized(item.strip()) for item in os.environ.get(DISABLE, "").split(",")} - {""}
    for each in distributions:
        if each.plugins is None:
            fault = UserError("its entry_points.txt cannot be read")
            yield failed(Plugin("*", each.name, each.version, ""), fault)
            continue
        for name, module in each.plugins:
            plugin = Plugin(name, each.name, each.version, module)
            if disabled & {plugin.distribution, normalized(name), normalized(plugin.full_name)}:
                plugin = replace(plugin, status="disabled", reason=f"disabled by {DISABLE}")
            yield plugin


def hooks_of(name: str) -> pluggy.HookRelay:
    """Import a plugin module and return its hook implementations, checked.

    Every plugin has its own plugin manager, so that one that is refused after registration leaves nothing behind.
    """
    module = import_module(name)
    needed = getattr(module, "HOOK_API", HOOK_API)
    if not isinstance(needed, int) or needed > HOOK_API:
        raise UserError(f"it needs version {needed!r} of the hooks, and this ganzoo has {HOOK_API}: update {BUNDLED}")
    manager = pluggy.PluginManager("ganzoo")
    manager.register(module)  # before pluggy knows the specs: its own complaints are long and in no stable order
    for hook, caller in vars(manager.hook).items():
        for implementation in caller.get_hookimpls():
            if hook not in ARGUMENTS:
                if implementation.optionalhook:
                    continue
                raise UserError(f"there is no hook {hook!r}{did_you_mean(hook, ARGUMENTS)}")
            for argument in implementation.argnames:
                if argument not in ARGUMENTS[hook]:
                    raise UserError(f"{hook} has no argument {argument!r}{did_you_mean(argument, ARGUMENTS[hook])}")
            for parameter in inspect.signature(implementation.function).parameters.values():
                if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
                    raise UserError(f"{hook} gets its arguments by place, {parameter.name!r} too")
            if implementation.wrapper or implementation.hookwrapper:
                raise UserError(f"its {hook} is a wrapper, and ganzoo has none")
    manager.add_hookspecs(Hooks)
    return manager.hook


def specs_of(hooks: pluggy.HookRelay) -> Iterator[Spec]:
    """Yield what a plugin offers; raises :class:`UserError` for what is no spec."""
    for implementation in hooks.ganzoo_specs.get_hookimpls():
        offered = implementation.function()
        for spec in offered if isinstance(offered, Iterable) else [offered]:
            if not isinstance(spec, Spec):
                raise UserError(f"its ganzoo_specs returns {type(spec).__name__} where a list of Spec is due")
            yield spec


def failed(plugin: Plugin, error: Exception) -> Plugin:
    """Return the plugin as one that cannot be loaded; with ``GANZOO_STRICT_PLUGINS`` raise :class:`UserError`."""
    plugin = replace(plugin, status="failed", reason=sentence(error))
    if os.environ.get(STRICT, "0") not in ("", "0"):
        raise UserError(f"{plugin.trouble} ({STRICT} is set)") from error
    return plugin
