"""The schedules are what their formulas say."""

import math

import pytest

from ganzoo import ScheduleConfig
from ganzoo.config.train_settings import TrainSettings
from ganzoo.config.validation import validate

CASES = {
    "constant": ({}, [1, 1, 1, 1]),
    "linear": ({}, [1, 0.75, 0.5, 0.25]),
    "linear late": ({"start": 0.5}, [1, 1, 1, 0.5]),
    "cosine": ({}, [(1 + math.cos(math.pi * t)) / 2 for t in (0, 0.25, 0.5, 0.75)]),
    "cosine to an end": ({"end": 0.2, "until": 0.5}, [1, 0.6, 0.2, 0.2]),
    "step": ({"every": 2, "gamma": 0.1}, [1, 1, 0.1, 0.1]),
    "exponential": ({"end": 1 / 16}, [1, 0.5, 0.25, 0.125]),
}


@pytest.mark.parametrize("case", CASES)
def test_factors(case: str) -> None:
    settings, expected = CASES[case]
    table = {"lr_schedule": {"name": case.partition(" ")[0], **settings}}
    schedule = validate(TrainSettings, "", table).lr_schedule.make()
    assert [schedule(step, 4) for step in range(4)] == pytest.approx(expected)


def test_a_name_alone_will_do() -> None:
    for settings in (validate(TrainSettings, "", {"lr_schedule": "step"}), TrainSettings(lr_schedule="step")):  # type: ignore[arg-type]
        assert settings.lr_schedule.make()(1000, 4000) == 0.5
    assert ScheduleConfig().make()(3, 4) == 1
