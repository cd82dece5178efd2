"""The interface of learning rate schedules, and the settings that choose one. It imports no torch."""

from abc import ABC, abstractmethod
from math import isfinite
from typing import ClassVar

from pydantic import Field
from typing_extensions import TypeVar

from ganzoo.configured import Configured, Named
from ganzoo.errors import GanzooError, UserError, sentence

__all__ = ["Schedule", "ScheduleConfig"]


class ScheduleConfig(Named):
    """Which schedule of the learning rate it is; a schedule with settings extends it."""

    kind: ClassVar[str] = "schedule"

    name: str = Field("constant", description="which schedule; 'ganzoo list schedule' shows them")


Settings = TypeVar("Settings", bound=ScheduleConfig, default=ScheduleConfig, covariant=True)


class Schedule(Configured[Settings], ABC):
    """A schedule of the learning rate: a function of the step and the number of steps, and of nothing else.

    So a training that is resumed goes on with the rate that it would have had.
    """

    @abstractmethod
    def __call__(self, step: int, steps: int) -> float:
        """Return what every learning rate is multiplied by, at least 0, in step ``step`` of 0 .. ``steps`` - 1."""

    def factor(self, step: int, steps: int) -> float:
        """Return the same, checked; raises :class:`~ganzoo.UserError` if it is no such number."""
        said = f"the schedule {self.config.name!r}"
        try:
            factor = self(step, steps)
        except GanzooError:
            raise
        except Exception as error:
            raise UserError(f"{said} fails in step {step} of {steps}: {sentence(error)}") from error
        if not isinstance(factor, int | float) or not isfinite(factor) or factor < 0:
            raise UserError(f"{said} returns {factor!r} in step {step} of {steps}; a factor is a number of 0 or more")
        return float(factor)
