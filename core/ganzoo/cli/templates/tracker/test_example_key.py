"""Tests of the tracker."""

from pathlib import Path

from example_package.example_key import ExampleKey, ExampleKeyConfig
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("tracker:example-name/example_key")


def test_a_resumed_training_goes_on_after_its_checkpoint(tmp_path: Path) -> None:
    for step, later in ((0, (1, 2, 3)), (2, (3, 4))):
        tracker = ExampleKey(ExampleKeyConfig())
        tracker.start(tmp_path, {}, step)
        for each in later:
            tracker.log(each, {"loss": 0.5})
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["step,name,value", "1,loss,0.5", "2,loss,0.5", "3,loss,0.5", "4,loss,0.5"]
