"""The errors that ganzoo raises, by who can correct them."""

import re
import signal

from ganzoo_runtime.text import did_you_mean

__all__ = ["GanzooError", "Interrupted", "TrainingError", "UserError", "did_you_mean", "is_out_of_memory", "sentence"]


class GanzooError(Exception):
    """Base of every error that ganzoo raises on purpose; ``str()`` of it is one clear sentence."""

    exit_code = 1


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
