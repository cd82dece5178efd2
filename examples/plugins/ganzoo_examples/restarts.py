"""A schedule that falls to zero along half a cosine, several times in a run."""

import math

from pydantic import Field

from ganzoo import Schedule, ScheduleConfig


class RestartsConfig(ScheduleConfig):
    """How often it starts again."""

    cycles: int = Field(4, ge=1, description="falls in one run")


class Restarts(Schedule[RestartsConfig]):
    """SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv:1608.03983."""

    def __call__(self, step: int, steps: int) -> float:
        """Return the factor of the learning rate."""
        through = step * self.config.cycles / steps % 1
        return (1 + math.cos(math.pi * through)) / 2
