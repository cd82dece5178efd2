"""torch's optimizers as plugins."""

from collections.abc import Iterable

from pydantic import Field
from torch import nn, optim

from ganzoo import Optimizer, OptimizerConfig
from ganzoo_plugins.optimizers.eager import SGD, Adam, AdamW, RMSprop


class AdamOptimizer(Optimizer):
    """Adam, fused."""

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        config = self.config
        assert config.betas is not None
        return Adam(parameters, config.lr, config.betas, weight_decay=config.weight_decay, fused=True)


class AdamWOptimizer(Optimizer):
    """Adam with decoupled weight decay, fused."""

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        config = self.config
        assert config.betas is not None
        return AdamW(parameters, config.lr, config.betas, weight_decay=config.weight_decay, fused=True)


class RMSpropOptimizer(Optimizer):
    """RMSprop; it has no betas."""

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        return RMSprop(parameters, self.config.lr, weight_decay=self.config.weight_decay)


class SGDConfig(OptimizerConfig):
    """Settings of stochastic gradient descent."""

    momentum: float = Field(0.0, ge=0, lt=1, description="decay of the moving sum of gradients")


class SGDOptimizer(Optimizer[SGDConfig]):
    """Stochastic gradient descent, fused; it has no betas."""

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        config = self.config
        return SGD(parameters, config.lr, config.momentum, weight_decay=config.weight_decay, fused=True)
