"""Registers the bundled optimizers."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_ADAM = "Adam: A Method for Stochastic Optimization, arXiv:1412.6980"
_ADAMW = "Decoupled Weight Decay Regularization, arXiv:1711.05101"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the optimizers."""
    where = "ganzoo_plugins.optimizers.bundled"
    return [
        Spec("optimizer", "adam", "Adam", f"{where}:AdamOptimizer", _ADAM),
        Spec("optimizer", "adamw", "Adam with decoupled weight decay", f"{where}:AdamWOptimizer", _ADAMW),
        Spec("optimizer", "rmsprop", "RMSprop, as in the WGAN paper", f"{where}:RMSpropOptimizer"),
        Spec("optimizer", "sgd", "Stochastic gradient descent, with momentum if wanted", f"{where}:SGDOptimizer"),
    ]
