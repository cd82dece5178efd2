"""The result of a check, and running checks so that every failure becomes a result."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ganzoo.errors import GanzooError, sentence
from ganzoo.plugin.isolation import isolated

__all__ = ["Check", "Fault", "Result", "Skip", "run"]

_CORE = Path(__file__).parents[1]
_LIBRARY = {Path(os.__file__).parent, Path(importlib.__file__).parent}


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
        return Result(check.name, "failed", f"{sentence(error)[:300]}{_where(error)}")


def _where(error: BaseException) -> str:
    """Return the innermost place that is neither ganzoo's core, torch nor Python's library: the plugin's, if any is."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        foreign = _CORE in path.parents or "torch" in path.parts or path.parent in _LIBRARY
        if not foreign and path.is_file():
            return f" ({path.name}, line {frame.lineno})"
    return ""
