"""The errors that ganzoo raises, by who can correct them."""

import importlib
import operator
import os
import re
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ganzoo_runtime.text import did_you_mean

__all__ = [
    "EndedElsewhere",
    "GanzooError",
    "Interrupted",
    "TrainingError",
    "UserError",
    "at_least",
    "did_you_mean",
    "is_out_of_memory",
    "lists",
    "one_of",
    "path_of",
    "place",
    "plain",
    "sentence",
    "user_errors",
]


class GanzooError(Exception):
    """Base of every error that ganzoo raises on purpose; ``str()`` of it is one clear sentence."""

    exit_code = 1
    said = False
    """Whether another process of the same training says it, so that this one need not."""


class UserError(GanzooError, ValueError):
    """The caller's input was wrong: a name, a value, a path or a file. Nothing was lost. Exit code 2."""

    exit_code = 2


class TrainingError(GanzooError, RuntimeError):
    """Training could not go on, for instance because a loss became infinite. Exit code 1."""


class Interrupted(GanzooError):
    """Training was ended by a signal after a checkpoint had been written.

    Exit code 130 for SIGINT, which is Ctrl-C, and 143 for SIGTERM, which schedulers send.
    """

    def __init__(self, sentence: str, number: int = signal.SIGINT) -> None:
        super().__init__(sentence)
        self.exit_code = 128 + number


class EndedElsewhere(GanzooError):
    """Another process of the same training has ended it; its exit code is that process's."""

    def __init__(self, sentence: str, exit_code: int, *, said: bool) -> None:
        super().__init__(sentence)
        self.exit_code, self.said = exit_code, said


def at_least(name: str, value: int | None, least: int) -> None:
    """Raise :class:`UserError` for a setting of this name that is no whole number, or is less than ``least``."""
    try:
        fits = value is None or operator.index(value) >= least
    except TypeError:
        fits = False
    if not fits:
        raise UserError(f"{name} is at least {least}, not {value!r}")


def lists(**values: object) -> None:
    """Raise :class:`UserError` for what is no list; the letters of a text would be taken for names."""
    for name, value in values.items():
        if isinstance(value, str):
            raise UserError(f"{name} is a list, not a text: write [{value!r}]")
        if not isinstance(value, Collection):
            raise UserError(f"{name} is a list, not {value!r}")


def path_of(name: str, value: object) -> Path:
    """Return an argument of this name as a path; raises :class:`UserError` for what is none."""
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise UserError(f"{name} is a path, not {value!r}")


def one_of(name: str, value: object, choices: Collection[object]) -> None:
    """Raise :class:`UserError` for a setting of this name that is none of the choices."""
    if value not in choices:
        raise UserError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a ValueError of the runtime, which does not depend on the core, into :class:`UserError`."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from None


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the error means that memory ran out; torch's own errors are recognized without importing torch."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and re.search(r"(?i)out of memory|allocate memory|alloc_failed|bad_alloc", str(error)) is not None
    )


def sentence(error: BaseException) -> str:
    """Return one line that describes an error; those of other code also name their class."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception that cannot even be printed
        text = ""
    if isinstance(error, GanzooError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_PLAIN = (
    (r"^(Value error|Assertion failed), ", ""),
    (r"^Input should be greater than or equal to ", "it is at least "),
    (r"^Input should be less than or equal to ", "it is at most "),
    (r"^Input should be greater than ", "it is above "),
    (r"^Input should be less than ", "it is below "),
    (r"^Input should be a valid integer\b.*", "it is a whole number"),
    (r"^Input should be a valid number\b.*", "it is a number"),
    (r"^Input should be a valid string\b.*", "it is a text"),
    (r"^Input should be a valid boolean\b.*", "it is true or false"),
    (r"^Input should be a valid (tuple|list)\b.*", "it is a list"),
    (r"^Input should be (a valid |an )?", "it is "),
    (r"^(Tuple|List) should have (at least|at most) (.*) after validation, not \d+$", r"it has \2 \3"),
)


def plain(complaint: str) -> str:
    """Return a complaint of pydantic's about a value, which speaks of input and of Python's types, in plain words."""
    for pattern, words in _PLAIN:
        complaint = re.sub(pattern, words, complaint)
    return f"{complaint[:1].lower()}{complaint[1:]}"


def place(error: BaseException) -> str:
    """Return the innermost place that is neither ganzoo's core, torch nor Python's library: the plugin's, if any is.

    It has the form `` (file.py, line 3)``.
    """
    import traceback

    core, library = Path(__file__).parent, {Path(os.__file__).parent, Path(importlib.__file__).parent}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        foreign = core in path.parents or "torch" in path.parts or path.parent in library
        if not foreign and path.is_file():
            return f" ({path.name}, line {frame.lineno})"
    return ""
