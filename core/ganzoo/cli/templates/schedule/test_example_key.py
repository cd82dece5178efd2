"""Tests of the schedule."""

from example_package.example_key import ExampleKey, ExampleKeyConfig
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("schedule:example-name/example_key")


def test_it_holds_and_falls() -> None:
    schedule = ExampleKey(ExampleKeyConfig(hold=0.5))
    assert [round(schedule(step, 8), 3) for step in range(8)] == [1, 1, 1, 1, 1, 0.854, 0.5, 0.146]
