"""The interface of optimizers, and the settings that choose one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn
from typing_extensions import TypeVar

from ganzoo.configured import Configured, Named, making
from ganzoo.errors import UserError

__all__ = ["Optimizer", "OptimizerConfig"]

Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Named):
    """The settings that every optimizer has, and which optimizer it is; an optimizer with more extends it.

    Models suggest values of these for whatever optimizer is chosen, so an optimizer ignores what it has no use for, as
    SGD ``betas``.
    """

    kind: ClassVar[str] = "optimizer"

    name: str = Field("adam", description="which optimizer; 'ganzoo list optimizer' shows them")
    lr: float = Field(1e-4, gt=0, description="learning rate")
    betas: tuple[Beta, Beta] | None = Field(
        None, description="decay of Adam's moving averages; left out: what the loss's paper takes"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay (decoupled for adamw)")

    def build(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> torch.optim.Optimizer:
        """Return the optimizer over these parameters; ``lr`` replaces the setting, ``betas`` stand in for none.

        Raises :class:`~ganzoo.UserError` if there is no optimizer of the name, or it cannot be made.
        """
        optimizer: Optimizer = self.make(lr=lr or self.lr, betas=self.betas or betas)
        with making(f"the optimizer {self.name!r}"):
            built = optimizer.build(parameters)
        if not isinstance(built, torch.optim.Optimizer):
            raise UserError(
                f"the optimizer {self.name!r} returns a {type(built).__name__} in place of a torch.optim.Optimizer"
            )
        return built


Settings = TypeVar("Settings", bound=OptimizerConfig, default=OptimizerConfig, covariant=True)


class Optimizer(Configured[Settings], ABC):
    """A kind of optimizer: makes a :class:`torch.optim.Optimizer` of its settings.

    What it makes reads the learning rate from its ``param_groups`` in each step, since schedules set it there. It keeps
    its state in ``state``, so that a resumed training goes on as it was. A parameter without a gradient stays as it is.

    On CUDA, its steps are captured with the phases if its groups have ``capturable``, which is set to true there, or
    ``fused``: both say that ``group["lr"]`` may be a tensor, and that no value of a tensor is read in Python.
    """

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer over these parameters; ``self.config`` has ``lr`` and ``betas``, never None."""
