"""Running the checks of a plugin's object by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ganzoo.plugin.registry import Entry, Registry, load_registry
from ganzoo.testing import general
from ganzoo.testing.results import Check, Result, run

__all__ = ["check", "checks_of", "run_checks"]


def run_checks(registry: Registry, name: str, sets: Sequence[str] = ()) -> Iterator[Result]:
    """Run the checks on what goes by the name and yield each result as it comes.

    ``name`` is a key, ``distribution/key``, or ``kind:key``; a key that several kinds have means all of them. ``sets``
    are settings as the command line takes them with ``--set``: of the whole training for a model (``"data.name=x"``),
    of the thing itself otherwise (``"path=/x"``). Nothing is downloaded: a model whose data set is not there is checked
    on random data. Raises :class:`~ganzoo.UserError` for an unknown name; whatever a check finds is a result.
    """
    entries = registry.named(name)
    for entry in entries:
        for result in run(checks_of(registry, entry, sets)):
            yield replace(result, name=f"{entry.spec.kind}: {result.name}") if len(entries) > 1 else result


def check(name: str, sets: Sequence[str] = (), registry: Registry | None = None) -> None:
    """Run the checks, for use in a test; raises AssertionError with every check that failed."""
    results = run_checks(load_registry() if registry is None else registry, name, sets)
    failed = [f"{result.name}: {result.detail}" for result in results if result.outcome == "failed"]
    if failed:
        raise AssertionError(f"{name} does not conform:\n  " + "\n  ".join(failed))


def checks_of(registry: Registry, entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of an entry, in order; none is run."""
    yield from general.checks(registry, entry, sets)
    # Imported when they are needed: a model's checks take long to import, and a sink's need no torch.
    match entry.spec.kind:
        case "model":
            from ganzoo.testing import growth, models

            yield from models.checks(registry, entry, sets)
            yield from growth.checks(registry, entry, sets)
        case "loss":
            from ganzoo.testing import losses

            yield from losses.loss_checks(registry, entry, sets)
        case "regularizer":
            from ganzoo.testing import losses

            yield from losses.regularizer_checks(entry, sets)
        case "augmentation":
            from ganzoo.testing import augmentations

            yield from augmentations.checks(entry, sets)
        case "optimizer":
            from ganzoo.testing import optimizers

            yield from optimizers.optimizer_checks(entry, sets)
        case "schedule":
            from ganzoo.testing import optimizers

            yield from optimizers.schedule_checks(entry, sets)
        case "dataset":
            from ganzoo.testing import datasets

            yield from datasets.checks(registry, entry, sets)
        case "tracker":
            from ganzoo.testing import trackers

            yield from trackers.checks(entry, sets)
        case "metric":
            from ganzoo.testing import metrics

            yield from metrics.checks(registry, entry, sets)
        case "field":
            from ganzoo.testing import fields

            yield from fields.checks(entry, sets)
        case "format":
            from ganzoo.testing import formats

            yield from formats.checks(entry)
        case "sink":
            from ganzoo.testing import sinks

            yield from sinks.checks(entry)
