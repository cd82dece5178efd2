"""A schedule that stays at 1 for a while, and falls along half a cosine to the end."""

import math

from pydantic import Field

from ganzoo import Schedule, ScheduleConfig


class ExampleKeyConfig(ScheduleConfig):
    """Settings of the schedule: ``--set lr_schedule.hold=0.5``."""

    hold: float = Field(0.5, ge=0, lt=1, description="share of the run before the fall")


class ExampleKey(Schedule[ExampleKeyConfig]):
    """1 before the fall, and then (1 + cos(pi t)) / 2, where t goes from 0 to 1.

    A factor depends on the step and the number of steps alone: a resumed training goes on as it would have.
    """

    def __call__(self, step: int, steps: int) -> float:
        """Return what every learning rate is multiplied by in step ``step`` of 0 .. ``steps`` - 1."""
        hold = self.config.hold
        through = max(0.0, step / steps - hold) / (1 - hold)
        return (1 + math.cos(math.pi * through)) / 2
