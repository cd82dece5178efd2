"""Registers the bundled schedules."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_SGDR = "SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv:1608.03983"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the schedules."""
    where = "ganzoo_plugins.schedules.bundled"
    return [
        Spec("schedule", "constant", "The learning rate stays", f"{where}:Constant"),
        Spec("schedule", "linear", "Falls to 0 in a straight line, from 'start' of the run on", f"{where}:Linear"),
        Spec("schedule", "cosine", "Falls to 'end', 0 by default, along half a cosine", f"{where}:Cosine", _SGDR),
        Spec("schedule", "step", "Multiplied by 'gamma' at every k-th step", f"{where}:Step"),
        Spec("schedule", "exponential", "Falls to 'end' of it by the same share each step", f"{where}:Exponential"),
    ]
