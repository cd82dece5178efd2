"""The verdict of the benchmark of fine-tuning, and the data that it adds."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from conftest import ROOT


@pytest.fixture
def finetuning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import finetuning

    return finetuning


def curve(*found: float) -> dict[str, list[dict[str, float]]]:
    return {"points": [{"step": 10 * i, "cpu_minutes": 2.0 * i, "fid": fid} for i, fid in enumerate(found, 1)]}


def test_when_fine_tuning_is_where_scratch_ends(finetuning: ModuleType) -> None:
    scratch = curve(90, 20, 30, 25)  # what counts is the end
    there = finetuning.reached(scratch, curve(60, 25, 40, 10))
    assert (there["step"], there["share"]) == (20, 0.5)
    assert finetuning.reached(scratch, curve(60, 26)) is None


def test_outlines_are_of_other_shapes_and_have_their_labels(finetuning: ModuleType) -> None:
    outlined, filled = finetuning.outlines(16), finetuning.shapes(16)
    one, other = (each.batch(torch.arange(500), torch.Generator()) for each in (outlined, filled))
    assert one["x"].shape == other["x"].shape == (500, 3, 16, 16)
    assert {*one} == {*other}
    middle = [each["x"].float().mean().item() for each in (one, other)]
    assert middle[0] < 0.9 * middle[1], "less ink on the dark ground"
    assert (one["x"] != other["x"]).flatten(1).any(1).all()
