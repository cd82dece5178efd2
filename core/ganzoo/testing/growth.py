"""The check of models whose networks grow while they are trained: the others' checks, at each of their stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ganzoo.plugin.registry import Entry, Registry
from ganzoo.testing import models, persistence
from ganzoo.testing.bench import STEPS, Bench
from ganzoo.testing.networks import signature
from ganzoo.testing.results import Check, Fault, Skip

__all__ = ["checks"]

_TRIALS: Sequence[Callable[[Bench], object]] = (
    models.build,
    signature,
    models.gradients,
    models.learning,
    models.ownership,
    persistence.run_folder,
)


def checks(registry: Registry, entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the check."""
    yield Check("stages", lambda: stages(Bench(registry, entry, sets)))


def stages(bench: Bench) -> None:
    """Grown to each stage, a model is what the checks ask for; resumed there, its training goes on to the last bit."""
    firsts = list(bench.loop().trainer.stages)
    if not firsts:
        raise Skip("its networks do not grow")
    if firsts != sorted({*firsts}) or firsts[0] < 1:
        raise Fault(f"its stages are steps from 1 on in ascending order, not {firsts}")
    for first in firsts:
        trials = [(each, first) for each in _TRIALS]
        # Resumed shortly after the stage, and from shortly before it over it.
        trials += [(persistence.resume, max(0, first - 1 - before)) for before in (STEPS // 2, STEPS)]
        for trial, start in trials:
            try:
                trial(bench.at(start))
            except Fault as fault:
                raise Fault(f"grown at step {first}, {trial.__name__}: {fault}") from None
