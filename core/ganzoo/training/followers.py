"""Who is told of a training's events: plugins by their hooks, and the trackers of the config."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ganzoo.errors import sentence
from ganzoo.gan.tracker import Tracker
from ganzoo.plugin.isolation import isolated
from ganzoo.plugin.process_state import RANDOM
from ganzoo.plugin.registry import Registry

__all__ = ["Followers"]

log = logging.getLogger("ganzoo")

_METHODS: Mapping[str, Callable[..., Any]] = {
    "ganzoo_fit_start": lambda it, run, config, step, **_: it.start(run, config, step),
    "ganzoo_log": lambda it, step, metrics, **_: it.log(step, metrics),
    "ganzoo_samples": lambda it, step, path, **_: it.samples(step, path),
    "ganzoo_fit_end": lambda it, step, outcome, **_: it.finish(step, outcome),
}
"""How a tracker is told of the event that a hook is for."""


class Followers:
    """Plugins and trackers that follow a training; what one of them does wrong is its own matter.

    Without a registry, as in a process that writes nothing, no plugin is told of anything.
    """

    def __init__(self, registry: Registry | None, trackers: Mapping[str, Tracker]) -> None:
        self._registry, self._trackers = registry, dict(trackers)

    def notify(self, hook: str, /, **arguments: Any) -> None:
        """Tell of an event, by the name and the arguments of its hook.

        Whoever raises is reported once in the log and is told nothing more. The state of the global random generators
        is restored after each, so that nobody changes the results of a training.
        """
        if self._registry is not None:
            self._registry.notify(hook, **arguments)
        if hook not in _METHODS:
            return
        for key, tracker in list(self._trackers.items()):
            try:
                with isolated(RANDOM):
                    _METHODS[hook](tracker, **arguments)
            except Exception as error:
                del self._trackers[key]
                log.warning("the tracker %r failed in %s and is told nothing more: %s", key, hook[7:], sentence(error))
