"""How torch's CPU threads wait for each other."""

import os

__all__ = ["spin_briefly", "waiting"]

_SPINS = "10000"

_WAYS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
"""The environment variables by which a user can have said how threads wait."""


def spin_briefly() -> None:
    """Let threads that wait for others sleep soon, unless the user has said how they wait.

    OpenMP's threads spin for milliseconds, in case that there is work again at once. On a machine that does something
    else as well they so take the very core that the thread they wait for needs. To be called before torch is imported:
    GNU's OpenMP reads its environment when it is loaded.
    """
    if not waiting():
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def waiting() -> str:
    """Return how threads wait, as variables of the environment; empty if nothing says so."""
    return ", ".join(f"{name}={os.environ[name]}" for name in _WAYS if name in os.environ)
