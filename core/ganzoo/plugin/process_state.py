"""Global state of the process that code of others may change: how each kind is read, restored, and told from use.

The state of a library is read only if the library has been imported: this must not import torch for a command that
does not need it.
"""

from __future__ import annotations

import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

__all__ = ["EVERYTHING", "RANDOM", "State"]

_UNKNOWN = object()


@dataclass(frozen=True)
class State:
    """Global state of the process: its name, and how it is read and restored.

    ``module`` is the library that holds it, empty for Python itself. If the library is first imported inside the
    isolated block, ``fresh`` is the value to restore; left out, nothing is restored. ``harmless`` decides from the
    values before and after whether the change needs no report.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    module: str = ""
    fresh: Any = _UNKNOWN
    harmless: Callable[[Any, Any], bool] = lambda before, after: False

    def value(self) -> Any:
        """Return the value as it is now."""
        if self.module and self.module not in sys.modules:
            return self.fresh
        try:
            return self.read()
        except Exception:  # a working directory that is gone, a generator of another kind
            return _UNKNOWN

    def put_back(self, before: Any) -> bool:
        """Restore the value ``before``, and return whether the change should be reported."""
        after = self.value()
        if before is _UNKNOWN or after is _UNKNOWN or before == after:
            return False
        harmless = self.harmless(before, after)
        with suppress(Exception):
            self.write(before)
        return not harmless


_SIGNALS = tuple(int(number) for number in signal.Signals)


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _set_handlers(before: Mapping[int, Any]) -> None:
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _set_streams(before: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = before


def _set_hooks(before: tuple[Any, ...]) -> None:
    sys.excepthook, sys.unraisablehook, threading.excepthook = before


def _logging() -> tuple[Any, ...]:
    root = logging.getLogger()
    return root.level, root.manager.disable, root.handlers.copy()


def _set_logging(before: tuple[Any, ...]) -> None:
    root = logging.getLogger()
    root.setLevel(before[0])
    logging.disable(before[1])
    root.handlers[:] = before[2]


def _set_path(before: list[str]) -> None:
    """Put the path back, with what was added at its end: the plugin may import from there later."""
    sys.path[:] = [*before, *(entry for entry in sys.path if entry not in before)]


def _path_longer(before: list[str], after: list[str]) -> bool:
    return after[: len(before)] == before


def _environment() -> dict[str, str | None]:
    """Return what is set, and the choice of devices; other new variables are how libraries configure themselves."""
    return {"CUDA_VISIBLE_DEVICES": None, **os.environ}


def _set_environment(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        elif os.environ.get(name) != value:
            os.environ[name] = value


def _environment_larger(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> bool:
    return all(after.get(name) == value for name, value in before.items())


def _umask() -> int:
    now = os.umask(0o077)  # it cannot be read without being set
    os.umask(now)
    return now


def _library(name: str) -> Any:
    """Return a library that somebody has imported."""
    return sys.modules[name]


_ROUNDS, _WORDS = 10, 624
"""How many rounds of a Mersenne Twister count as a few draws, and the 32-bit words of a round."""


def _python_drew(before: Any, after: Any) -> bool:
    """Return whether the generator has only advanced from its former state, as it does when a library draws from it."""
    # A seed gives an unrelated state; a few draws give one that is reached by walking on from the old one. Each round
    # regenerates all 624 words, which is when the words change; between, only the position does.
    walker = random.Random()
    walker.setstate(before)
    for _ in range(_ROUNDS):
        if walker.getstate()[1][:-1] == after[1][:-1]:
            return True
        walker.getrandbits(32 * _WORDS)
    return False


def _numpy_random() -> tuple[Any, ...]:
    name, keys, *rest = _library("numpy.random").get_state()
    return name, keys.tolist(), *rest


def _set_numpy_random(before: tuple[Any, ...] | None) -> None:
    if before is None:
        _library("numpy.random").seed()
    else:
        _library("numpy.random").set_state(before)


def _numpy_drew(before: tuple[Any, ...] | None, after: tuple[Any, ...]) -> bool:
    if before is None:  # what has seeded itself, as it does when it is imported, remembers with what
        return _library("numpy.random").get_bit_generator().seed_seq is not None
    walker = _library("numpy.random").RandomState()
    walker.set_state(before)
    for _ in range(_ROUNDS):
        if walker.get_state()[1].tolist() == after[1]:
            return True
        walker.bytes(4 * _WORDS)
    return False


def _torch_random() -> list[bytes]:
    """Return the state of the CPU's generator, and of the devices' once there are any; each begins with its seed."""
    torch = _library("torch")
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]
    return [state.numpy().tobytes() for state in states]


def _set_torch_random(before: Sequence[bytes] | None) -> None:
    torch = _library("torch")
    if before is None:
        torch.seed()
        return
    first, *others = (torch.frombuffer(bytearray(state), dtype=torch.uint8) for state in before)
    torch.set_rng_state(first)
    if others:
        torch.cuda.set_rng_state_all(others)


def _torch_drew(before: Sequence[bytes] | None, after: Sequence[bytes]) -> bool:
    # torch seeds itself with 64 random bits when it is imported; a seed that a person wrote is nearly always smaller.
    if before is None:
        return bool(_library("torch").initial_seed() >= 2**32)
    return all(one[:8] == other[:8] for one, other in zip(before, after, strict=False))


def _start_method() -> Any:
    return _library("multiprocessing").get_start_method(allow_none=True)


def _set_start_method(before: str | None) -> None:
    _library("multiprocessing").set_start_method(before, force=True)


def _dtype() -> str:
    return str(_library("torch").get_default_dtype()).removeprefix("torch.")


def _set_dtype(before: str) -> None:
    _library("torch").set_default_dtype(getattr(_library("torch"), before))


def _device() -> str:
    return str(_library("torch").get_default_device())


def _set_device(before: str) -> None:
    # "cpu" would install a mode that intercepts every call of torch, and slows it down; None removes it.
    _library("torch").set_default_device(None if before == "cpu" else before)


def _backends() -> tuple[Any, ...]:
    backends = _library("torch").backends
    return backends.cuda.matmul.fp32_precision, backends.cudnn.benchmark, backends.cudnn.deterministic


def _set_backends(before: tuple[Any, ...]) -> None:
    backends = _library("torch").backends
    backends.cuda.matmul.fp32_precision, backends.cudnn.benchmark, backends.cudnn.deterministic = before


def _torch(name: str, read: str, write: str, fresh: Any = _UNKNOWN) -> State:
    """Return the state that two functions of torch read and write."""
    return State(
        f"torch's {name}",
        lambda: getattr(_library("torch"), read)(),
        lambda before: getattr(_library("torch"), write)(before),
        "torch",
        fresh,
    )


RANDOM = (
    State("Python's random state", random.getstate, random.setstate, harmless=_python_drew),
    State("NumPy's random state", _numpy_random, _set_numpy_random, "numpy.random", None, _numpy_drew),
    State("torch's random state", _torch_random, _set_torch_random, "torch", None, _torch_drew),
)
"""The global random generators: a training draws from them, and its results depend on who else does."""

_FLOATS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}

EVERYTHING = (
    *RANDOM,
    State("signal handlers", _handlers, _set_handlers),
    State("the standard streams", lambda: (sys.stdin, sys.stdout, sys.stderr), _set_streams),
    State("exception hooks", lambda: (sys.excepthook, sys.unraisablehook, threading.excepthook), _set_hooks),
    State("the root logger", _logging, _set_logging),
    State("the module path", lambda: sys.path.copy(), _set_path, harmless=_path_longer),
    State("environment variables", _environment, _set_environment, harmless=_environment_larger),
    State("the working directory", os.getcwd, os.chdir),
    State("the umask", _umask, os.umask),
    State("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda old: locale.setlocale(locale.LC_ALL, old)),
    State("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    State("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    State("the start method of processes", _start_method, _set_start_method, "multiprocessing", None),
    State(
        "NumPy's floating-point errors",
        lambda: _library("numpy").geterr(),
        lambda before: _library("numpy").seterr(**before),
        "numpy",
        _FLOATS,
    ),
    State("torch's default dtype", _dtype, _set_dtype, "torch", "float32"),
    State("torch's default device", _device, _set_device, "torch", "cpu"),
    State("torch's backends", _backends, _set_backends, "torch", ("none", False, False)),
    _torch("gradient mode", "is_grad_enabled", "set_grad_enabled", True),
    _torch("determinism", "get_deterministic_debug_mode", "set_deterministic_debug_mode", 0),
    _torch("threads", "get_num_threads", "set_num_threads"),
    State(
        "torch's anomaly detection",
        lambda: _library("torch").is_anomaly_enabled(),
        lambda before: _library("torch").autograd.set_detect_anomaly(before),
        "torch",
        False,
    ),
)
"""All state that is restored after an import. Changes of other modules are not: they may be a plugin's purpose."""
