"""The optimizer Lion: steps of one size, in the direction of the sign of a moving average."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pydantic import Field
from torch import nn

from ganzoo import Optimizer, OptimizerConfig


class LionConfig(OptimizerConfig):
    """Settings of its own; name, lr, betas and weight_decay come with the base class."""

    momentum: float = Field(0.99, ge=0, lt=1, description="decay of the moving average")


class LionOptimizer(Optimizer[LionConfig]):
    """Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        config = self.config
        return Lion(parameters, config.lr, config.betas[0], config.momentum, config.weight_decay)


class Lion(torch.optim.Optimizer):
    """``capturable`` says that it reads no value of a tensor, and takes a tensor for its learning rate."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, beta: float, momentum: float, weight_decay: float
    ) -> None:
        settings = {"lr": lr, "beta": beta, "momentum": momentum, "weight_decay": weight_decay, "capturable": False}
        super().__init__(parameters, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                direction = state["average"].lerp(weight.grad, 1 - group["beta"]).sign_()
                direction.add_(weight, alpha=group["weight_decay"])
                weight.sub_(direction.mul_(group["lr"]))
                state["average"].lerp_(weight.grad, 1 - group["momentum"])
