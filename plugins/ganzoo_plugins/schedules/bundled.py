"""Schedules of the learning rate: what it is multiplied by, as a function of the step and the number of steps."""

import math

from pydantic import Field

from ganzoo import Schedule, ScheduleConfig


class Constant(Schedule):
    """1."""

    def __call__(self, step: int, steps: int) -> float:
        return 1.0


class LinearConfig(ScheduleConfig):
    """Settings of a fall in a straight line."""

    start: float = Field(0.0, ge=0, lt=1, description="share of the run before the fall; CycleGAN's paper takes 0.5")


class Linear(Schedule[LinearConfig]):
    """1 - t, where t goes from 0 to 1 after the start."""

    def __call__(self, step: int, steps: int) -> float:
        start = self.config.start
        return 1 - step / steps if start == 0 else 1 - max(0.0, step / steps - start) / (1 - start)


class CosineConfig(ScheduleConfig):
    """Settings of a fall along half a cosine."""

    end: float = Field(0.0, ge=0, lt=1, description="the factor after the fall")
    until: float = Field(
        1.0, gt=0, le=1, description="share of the run that the fall takes; it stays at 'end' after it"
    )


class Cosine(Schedule[CosineConfig]):
    """end + (1 - end) (1 + cos(pi t)) / 2, where t goes from 0 to 1 in the share of the run ``until``."""

    def __call__(self, step: int, steps: int) -> float:
        end, time = self.config.end, min(1.0, step / (steps * self.config.until))
        return end + (1 - end) * (1 + math.cos(math.pi * time)) / 2


class StepConfig(ScheduleConfig):
    """Settings of a fall in steps."""

    every: int = Field(1000, ge=1, description="training steps from one fall to the next")
    gamma: float = Field(0.5, gt=0, le=1, description="what it is multiplied by each time")


class Step(Schedule[StepConfig]):
    """gamma^floor(step / every)."""

    def __call__(self, step: int, steps: int) -> float:
        return self.config.gamma ** (step // self.config.every)


class ExponentialConfig(ScheduleConfig):
    """Settings of a fall by the same share in each step."""

    end: float = Field(0.01, gt=0, le=1, description="the factor at the end of the run")


class Exponential(Schedule[ExponentialConfig]):
    """end^t."""

    def __call__(self, step: int, steps: int) -> float:
        return self.config.end ** (step / steps)
