"""The result of a check, and running checks so that every failure becomes a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ganzoo.errors import GanzooError, place, sentence
from ganzoo.plugin.isolation import isolated

__all__ = ["Check", "Fault", "Result", "Skip", "run"]


@dataclass(frozen=True)
class Result:
    """The outcome of one check; ``detail`` is a sentence, and never empty unless the check passed."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""


@dataclass(frozen=True)
class Check:
    """A check by its name. After a vital one that did not pass, those that follow are skipped.

    ``function`` returns a remark or nothing; it raises :class:`Fault` if the check fails and :class:`Skip` if it does
    not apply. Any other exception fails the check too.
    """

    name: str
    function: Callable[[], str | None]
    vital: bool = False


class Fault(Exception):
    """A check failed: one clear sentence."""


class Skip(Exception):
    """A check does not apply, and why."""


def run(checks: Iterable[Check]) -> Iterator[Result]:
    """Run the checks in order and yield each result as it comes; the process is left as it was."""
    obstacle = ""
    for check in checks:
        if obstacle:
            yield Result(check.name, "skipped", obstacle)
            continue
        result = _result(check)
        yield result
        if check.vital and result.outcome != "passed":
            obstacle = f"the check {check.name!r} did not pass"


def _result(check: Check) -> Result:
    try:
        with isolated():
            remark = check.function()
        return Result(check.name, "passed", remark or "")
    except Skip as skip:
        return Result(check.name, "skipped", str(skip))
    except (Fault, GanzooError) as error:
        return Result(check.name, "failed", str(error))
    except Exception as error:
        return Result(check.name, "failed", f"{sentence(error)[:300]}{place(error)}")
