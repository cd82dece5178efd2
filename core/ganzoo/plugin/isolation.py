"""Isolation of plugin code: global state that it changes is restored, and whatever it raises becomes an Exception.

A plugin that sets a default dtype or seeds a generator while it is imported would change every other training.
:func:`isolated` prevents this.
"""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from types import FrameType
from typing import Any

from ganzoo.errors import UserError, sentence
from ganzoo.plugin.process_state import EVERYTHING, State

__all__ = ["isolated", "said"]


@contextmanager
def isolated(states: Sequence[State] | None = None) -> Iterator[list[str]]:
    """Run the block and restore global state after it; yields a list that then holds the names of what was changed.

    Without ``states`` everything is restored, and what the block prints goes to stderr, since stdout is for the
    command's output. Whatever the block raises leaves it as an Exception (a ``sys.exit()`` in a plugin does not end
    ganzoo). Only what a signal handler raises (Ctrl-C) leaves it unchanged, even if the code inside has caught it.
    """
    changes: list[str] = []
    with _signals_apart(), ExitStack() as stack:
        if states is None:
            stack.enter_context(redirect_stdout(sys.stderr))
            stack.enter_context(_filters_put_back(changes))
        before = [(state, state.value()) for state in (EVERYTHING if states is None else states)]
        try:
            yield changes
        finally:
            # In reverse order, so that the random generators, which were read first, are restored last: restoring
            # another state may draw from them.
            changes += [state.name for state, value in reversed(before) if state.put_back(value)][::-1]


def said(changes: Sequence[str]) -> str:
    """Return what a plugin's import has changed as the rest of a sentence about it."""
    return f"changes {' and '.join(changes)} when it is imported"


@contextmanager
def _signals_apart() -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()  # the only one in which handlers are called
    relays = [_Relay(number) for number in signal.Signals if callable(signal.getsignal(number))] if main else []
    try:
        try:
            yield
        finally:
            for relay in relays:
                if relay.raised is not None:
                    raise relay.raised
    except Exception:
        raise
    except BaseException as error:
        if any(error is relay.raised for relay in relays):
            raise
        raise UserError(sentence(error)) from error
    finally:
        for relay in relays:
            relay.remove()


class _Relay:
    """Wraps the handler of a signal and remembers what it has raised."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.raised: BaseException | None = None
        self.handler: Any = signal.getsignal(number)
        signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        try:
            self.handler(number, frame)
        except BaseException as error:
            self.raised = error
            raise
        finally:
            # The handler may have put another in its own place, as that of a training does for a second Ctrl-C.
            if not self.installed:
                self.handler = signal.signal(number, self)

    @property
    def installed(self) -> bool:
        """Whether it still is the handler."""
        current: object = signal.getsignal(self.number)
        return current is self

    def remove(self) -> None:
        """Give the signal its handler back, unless it has been given another."""
        if self.installed:
            signal.signal(self.number, self.handler)


@contextmanager
def _filters_put_back(changes: list[str]) -> Iterator[None]:
    """Drop new warning filters that apply to every warning, as ``simplefilter("ignore")`` makes them.

    Those for a message, a module or a category of one's own stay: libraries add such, once, when they are imported.
    """
    before, after = list(warnings.filters), list(warnings.filters)
    try:
        with warnings.catch_warnings():
            try:
                yield
            finally:
                after = list(warnings.filters)
    finally:
        added = [each for each in after if each not in before]
        own = [each for each in added if each[1] or each[3] or each[2].__module__ != "builtins"]
        for action, message, category, module, line in reversed(own):
            text, place = (getattr(each, "pattern", each) or "" for each in (message, module))
            warnings.filterwarnings(action, text, category, place, line)  # type: ignore[arg-type]
        if len(own) < len(added) or any(each not in after for each in before):
            changes.append("the warning filters")
