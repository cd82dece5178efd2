"""torch's optimizers without what they do for ``torch.compile``.

Their methods are decorated so that it leaves them out, and the decorators import ``torch._dynamo``, which takes two
thirds of the time of torch itself and a further call in each step. What they decorate is called here as it is: the
arithmetic, the state, the hooks and the profiler's records are torch's own.
"""

from inspect import unwrap
from typing import Any

import torch
from torch import optim

__all__ = ["SGD", "Adam", "AdamW", "RMSprop"]


def _stepping(cls: Any) -> Any:
    # What is left of the decorators: a step has no gradient. Its hooks are added when the first optimizer is made.
    return torch.no_grad()(unwrap(cls.step))


class _Eager(optim.Optimizer):
    add_param_group = unwrap(optim.Optimizer.add_param_group)
    zero_grad = unwrap(optim.Optimizer.zero_grad)
    state_dict = unwrap(optim.Optimizer.state_dict)
    load_state_dict = unwrap(optim.Optimizer.load_state_dict)


class Adam(_Eager, optim.Adam):
    """torch's Adam."""

    step = _stepping(optim.Adam)


class AdamW(_Eager, optim.AdamW):
    """torch's AdamW."""

    step = _stepping(optim.AdamW)


class RMSprop(_Eager, optim.RMSprop):
    """torch's RMSprop."""

    step = _stepping(optim.RMSprop)


class SGD(_Eager, optim.SGD):
    """torch's SGD."""

    step = _stepping(optim.SGD)
