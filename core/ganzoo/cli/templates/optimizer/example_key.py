"""Rectified Adam, with weight decay as in AdamW if wanted."""

from collections.abc import Iterable

import torch
from pydantic import Field
from torch import nn

from ganzoo import Optimizer, OptimizerConfig


class ExampleKeyConfig(OptimizerConfig):
    """Settings of its own; ``name``, ``lr``, ``betas`` and ``weight_decay`` come with the base class."""

    decoupled: bool = Field(True, description="weight decay apart from the gradient, as in AdamW")


class ExampleKey(Optimizer[ExampleKeyConfig]):
    """Adam whose first steps are smaller, so that it needs no warm-up (RAdam, arXiv:1908.03265)."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer over these parameters; an optimizer of your own is a subclass of torch's Optimizer.

        It reads ``group["lr"]`` in each step, since schedules set it there, and keeps what lasts between steps in
        ``state`` and ``param_groups``, which checkpoints hold.
        """
        config = self.config
        return torch.optim.RAdam(
            parameters,
            config.lr,
            config.betas or (0.9, 0.999),
            weight_decay=config.weight_decay,
            decoupled_weight_decay=config.decoupled,
        )
