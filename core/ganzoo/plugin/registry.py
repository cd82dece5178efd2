"""The registry: finds and loads plugins, looks up what they offer by name, and notifies them of events.

Plugins are the core's own, and the entry points of the group ``ganzoo.plugins``. They are loaded in this order: core,
bundled, then by distribution and name. A plugin that cannot be loaded is never fatal: nothing of it is kept, it is
listed with the reason, and the reason is quoted when a name is not found.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pluggy

from ganzoo.errors import UserError, did_you_mean, sentence
from ganzoo.plugin.discovery import BUNDLED, discover, normalized
from ganzoo.plugin.isolation import isolated
from ganzoo.plugin.loading import ARGUMENTS, Plugin, failed, hooks_of, plugins_of, specs_of
from ganzoo.plugin.process_state import RANDOM
from ganzoo.plugin.spec import KINDS, SAID, Kind, Spec

__all__ = ["BUNDLED", "Entry", "Registry", "UnknownNameError", "load_registry"]

_QUOTED = 3
"""Broken plugins that are quoted where a name is not found."""

log = logging.getLogger("ganzoo")


@dataclass(frozen=True)
class Entry:
    """A spec and where it comes from."""

    spec: Spec
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """The name that always works, ``distribution/key``."""
        return f"{self.distribution}/{self.spec.key}"

    @property
    def recorded(self) -> str:
        """The name that stands among other settings in a config: the key if it is bundled, else the full name."""
        return self.spec.key if self.distribution == BUNDLED else self.name


class UnknownNameError(UserError):
    """Raised for a name that no plugin offers."""

    def __init__(self, sentence: str, kind: Kind, name: str) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.name = name


class Registry:
    """The plugins found on a path and what they offer. Most callers want :func:`load_registry`."""

    plugins: list[Plugin]
    """Every plugin found, in loading order, with its status and the reason if it is not loaded."""

    def __init__(self, path: Iterable[str] | None = None) -> None:
        """Load what the core offers, and find and load the plugins of the distributions on ``sys.path``.

        With a path given it is those on the path alone.
        """
        self.plugins = []
        self._entries: list[Entry] = []
        self._hooks: list[tuple[Plugin, pluggy.HookRelay]] = []
        self._muted: set[Plugin] = set()
        self._noted: set[str] = set()
        # The core's commands are not found by an entry point: `ganzoo doctor` must work where the metadata of the
        # installation is damaged, since that is what it is run for.
        distributions = discover(sys.path if path is None else path)
        if path is None:
            version = next((each.version for each in distributions if each.name == BUNDLED), "?")
            self.plugins.append(self._load(Plugin("core", BUNDLED, version, "ganzoo.plugin.builtin")))
        for plugin in plugins_of(distributions):
            self.plugins.append(self._load(plugin) if plugin.status == "loaded" else plugin)

    def specs(self, kind: Kind | None = None) -> list[Entry]:
        """Return everything of the kind that is offered, or everything, in loading order."""
        return [entry for entry in self._entries if kind is None or entry.spec.kind == kind]

    def get(self, kind: Kind, name: str) -> Entry:
        """Return what goes by the name: a short key, or ``distribution/key``.

        A short key that several offer means the bundled one, which is noted once in the log; if none of them is
        bundled, it is a :class:`UserError` that names them all. A name that nobody offers is an
        :class:`UnknownNameError`.
        """
        entries, said = self.specs(kind), SAID[kind]
        if not isinstance(name, str):
            raise UserError(f"the {said} is called by its name, not {name!r}")
        distribution, slash, key = name.rpartition("/")
        distribution = normalized(distribution)
        found = [e for e in entries if e.spec.key == key and (not slash or e.distribution == distribution)]
        if not found:
            known = [entry.name if slash else entry.spec.key for entry in entries]
            troubles = self.troubles(distribution)
            raise UnknownNameError(f"unknown {said} {name!r}{did_you_mean(name, known)}{troubles}", kind, name)
        # A collision of short keys. The bundled plugin keeps its key, so that installing a plugin never changes what an
        # existing command or config means. Between two others there is no such reason, and guessing by the order of
        # loading would depend on what else is installed: the user has to name one.
        first, others = found[0], " and ".join(entry.name for entry in found[1:])
        if others and first.distribution != BUNDLED:  # if one of them is bundled, it is the first
            raise UserError(f"the {said} {name!r} is offered by {first.name} and {others}: say which")
        if others:
            self._note(f"the {said} {name!r} means {first.name}; there is also {others}")
        return first

    def names(self, kind: Kind) -> dict[str, Entry]:
        """Return everything of the kind by the shortest name that :meth:`get` accepts as unambiguous."""
        entries = self.specs(kind)
        keys = Counter(entry.spec.key for entry in entries)
        names: dict[str, Entry] = {}
        for entry in entries:
            key = entry.spec.key
            names[key if keys[key] == 1 or entry.distribution == BUNDLED else entry.name] = entry
        return names

    def for_networks(self) -> Registry:
        """Return a registry for building a finished run's networks: only the plugin of the model must be installed.

        A loss or regularizer that is missing or cannot be loaded gets a stand-in; data sets and metrics always do.
        """
        return _ForNetworks(self)

    def named(self, name: str) -> list[Entry]:
        """Return what goes by a name of any kind: a key, ``distribution/key``, or ``kind:key``.

        A key that several kinds have (wgan the loss, wgan the model) means all of them. Raises :class:`UserError` if
        there is none.
        """
        kind, colon, key = name.partition(":")
        if colon:
            for known in KINDS:
                if kind == known:
                    return [self.get(known, key)]
            raise UserError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
        found = [entry.spec.kind for entry in self.specs() if name in (entry.spec.key, entry.name)]
        if not found:
            close = did_you_mean(name, (entry.spec.key for entry in self.specs()), "'ganzoo list' shows all names")
            raise UserError(f"unknown name {name!r}{close}{self.troubles()}")
        return [self.get(kind, name) for kind in dict.fromkeys(found)]

    def troubles(self, distribution: str = "") -> str:
        """Return why plugins are not loaded, in brackets, for the end of a sentence about what nobody offers.

        A full name says which distribution's fault that can be; a short one can be anybody's.
        """
        found = [p.trouble for p in self.plugins if p.trouble and distribution in ("", p.distribution)]
        quoted = "".join(f" ({trouble})" for trouble in found[:_QUOTED])
        if len(found) > _QUOTED:
            quoted += f" (and {len(found) - _QUOTED} more are not loaded: see 'ganzoo plugins')"
        return quoted

    def listens(self, hook: str) -> bool:
        """Return whether any plugin implements the hook and is still notified."""
        return any(True for _ in self._implementations(hook))

    def notify(self, hook: str, /, **arguments: Any) -> None:
        """Call the hook in every plugin that implements it, in loading order, each with the arguments that it takes.

        A plugin that raises is reported once in the log and is not called again; the others still are. The state of the
        global random generators is restored after each call, so that plugins cannot change the results of a training.
        """
        assert arguments.keys() == set(ARGUMENTS[hook]), f"{hook} takes {ARGUMENTS[hook]}, not {tuple(arguments)}"
        for plugin, implementation in self._implementations(hook):
            needed = [arguments[name] for name in implementation.argnames]
            wanted = {name: arguments[name] for name in implementation.kwargnames if name in arguments}
            try:
                with isolated(RANDOM):
                    implementation.function(*needed, **wanted)
            except Exception as error:
                self._muted.add(plugin)
                self._note(f"plugin {plugin} failed in {hook} and is told nothing more: {sentence(error)}")

    def _implementations(self, hook: str) -> Iterator[tuple[Plugin, pluggy.HookImpl]]:
        for plugin, hooks in self._hooks:
            for implementation in getattr(hooks, hook).get_hookimpls():
                if plugin not in self._muted:
                    yield plugin, implementation

    def _load(self, plugin: Plugin) -> Plugin:
        """Import and check the plugin and take it in, or return it as failed and leave everything as it was."""
        try:
            if any(plugin.module == other.module for other, _ in self._hooks):
                raise UserError(f"its module {plugin.module} is loaded already")
            with isolated() as changes:
                hooks = hooks_of(plugin.module)
                specs = tuple(replace(spec, plugin=str(plugin)) for spec in specs_of(hooks))
            # Within one distribution a key must be unique: the full name "distribution/key" always has to work.
            taken = {(e.spec.kind, e.spec.key) for e in self._entries if e.distribution == plugin.distribution}
            for spec in specs:
                if (spec.kind, spec.key) in taken:
                    raise UserError(f"{plugin.distribution} offers the {SAID[spec.kind]} {spec.key!r} twice")
                taken.add((spec.kind, spec.key))
        except Exception as error:
            return failed(plugin, error)
        # Only a plugin that passed every check is registered, so that one that failed leaves nothing behind.
        plugin = replace(plugin, specs=specs, changes=tuple(changes))
        self._hooks.append((plugin, hooks))
        self._entries += [Entry(spec, plugin.distribution, plugin.version) for spec in specs]
        return plugin

    def _note(self, sentence: str) -> None:
        """Log the sentence the first time; without any logging setup, Python writes it to stderr unchanged."""
        if sentence not in self._noted:
            self._noted.add(sentence)
            log.warning("%s", sentence)


class _ForNetworks(Registry):
    def __init__(self, registry: Registry) -> None:
        vars(self).update(vars(registry))

    def get(self, kind: Kind, name: str) -> Entry:
        if kind not in _STAND_INS:
            return super().get(kind, name)
        if kind in ("loss", "regularizer"):  # a trainer may ask them something when it makes its networks
            with suppress(UserError):
                entry = super().get(kind, name)
                entry.spec.load()
                return entry
        distribution, _, key = name.rpartition("/")
        return Entry(Spec(kind, key, "Stands in for what is not here.", _STAND_INS[kind]), distribution, "")


_STAND_INS: dict[Kind, str] = {
    "loss": "ganzoo.runs.standins:StandInLoss",
    "regularizer": "ganzoo.runs.standins:StandInRegularizer",
    "augmentation": "ganzoo.runs.standins:StandInAugmentation",
    "optimizer": "ganzoo.runs.standins:StandInOptimizer",
    "schedule": "ganzoo.runs.standins:StandInSchedule",
    "dataset": "ganzoo.runs.standins:StandInDataset",
    "metric": "ganzoo.runs.standins:StandInMetric",
    "tracker": "ganzoo.runs.standins:StandInTracker",
}


def load_registry() -> Registry:
    """Return the registry of the installed plugins, loaded once in a process, whichever thread asks first."""
    with _loading:  # a cache alone lets two threads load at once
        return _installed()


@cache
def _installed() -> Registry:
    return Registry()


_loading = threading.RLock()
load_registry.cache_clear = _installed.cache_clear  # type: ignore[attr-defined]
