"""A training that ends after so much time, as if by Ctrl-C, so that models are compared at an equal budget."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from ganzoo import Interrupted


@contextmanager
def budget(minutes: float, *, cpu: bool = True) -> Iterator[None]:
    """Interrupt what is done after so many minutes; with ``cpu``, when two cores have worked for that long."""

    def stop(number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    timer, sent = (signal.ITIMER_PROF, signal.SIGPROF) if cpu else (signal.ITIMER_REAL, signal.SIGALRM)
    before = signal.signal(sent, stop)
    started = time.process_time()
    signal.setitimer(timer, minutes * (120 if cpu else 60))
    try:
        with suppress(Interrupted):
            yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(sent, before)
        print(f"{time.process_time() - started:.0f} s of CPU time", flush=True)
