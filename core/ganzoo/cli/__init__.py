"""The command ``ganzoo``, and what commands of plugins share with those of the core.

Commands are listed by their specs and imported when they are called: ``ganzoo --help`` needs pluggy alone, ``ganzoo
list`` no torch. A plugin's command takes the options of :mod:`ganzoo.cli.options` from here.
"""

import logging
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from ganzoo.cli.overview import overview
from ganzoo.cli.threads import spin_briefly
from ganzoo.errors import GanzooError, is_out_of_memory
from ganzoo.terminal import escape_record, print

if TYPE_CHECKING:
    from ganzoo.cli.commands import app, load_command
    from ganzoo.cli.options import TF32, Attribute, Classes, Cutoff, Model, Seed, Text, Truncation, conditions, parsed

__all__ = [
    "TF32",
    "Attribute",
    "Classes",
    "Cutoff",
    "Model",
    "Seed",
    "Text",
    "Truncation",
    "app",
    "conditions",
    "load_command",
    "main",
    "parsed",
    "print",
]

_LONGEST = 2000  # characters of a sentence


def __getattr__(name: str) -> Any:
    """Import on first use what needs typer."""
    if name not in __all__:
        raise AttributeError(f"module 'ganzoo.cli' has no attribute {name!r}")
    return getattr(import_module(f"ganzoo.cli.{'commands' if name in ('app', 'load_command') else 'options'}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the caller's mistakes end in one sentence and exit code 2, never in a traceback."""
    _open_closed()
    spin_briefly()
    logging.getLogger("ganzoo").addFilter(escape_record)
    given = list(sys.argv[1:] if arguments is None else arguments)
    code = 0
    try:
        with _interruptible():
            if given in ([], ["-h"], ["--help"]):
                print(overview(), end="")
            else:
                from ganzoo.cli.commands import run

                code = run(given)
    except GanzooError as error:
        if error.said:
            sys.exit(error.exit_code)
        _end(str(error), error.exit_code)
    except OSError as error:  # a full disk, a pulled plug: nothing that a traceback would explain
        what = f"{error.filename}: " if error.filename else ""
        _end(f"{what}{error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = "smaller batches (--set batch_size=...)" if given[:1] == ["train"] else "fewer or smaller samples"
        _end(f"out of memory; take {smaller}, or a smaller model", 1)
    if code:
        sys.exit(code)


def _open_closed() -> None:
    """Open streams that the caller has closed (``2>&-``), or the next file that is opened would take their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the process with exit code 130 and no traceback, at any moment."""
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # a shell may have it ignored in the background
        with suppress(ValueError):  # in another thread than the first
            signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except (KeyboardInterrupt, Exception):
        if came:  # libraries written in C make another error of it while they are imported
            sys.exit(128 + signal.SIGINT)
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, before)


def _end(sentence: str, code: int) -> NoReturn:
    # Line breaks alone: a name may have several spaces, and those of other scripts.
    text = re.sub(r"\s*[\r\n]\s*", " ", sentence.strip())
    if len(text) > _LONGEST:  # it quotes what stood in a file
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    print("ganzoo:", text, file=sys.stderr)
    sys.exit(code)
