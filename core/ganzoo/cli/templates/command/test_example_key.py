"""Tests of the command."""

import json

import pytest
from ganzoo import cli
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("command:example-name/example_key")


def test_it_shows_the_range_of_samples(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["example_key", "zoo:gan_fc-mnist5k", "-n", "4", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert -1 <= found["min"] <= found["mean"] <= found["max"] <= 1


def test_a_wrong_seed_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["example_key", "zoo:gan_fc-mnist5k", "--seed", "-1"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "ganzoo: --seed is at least 0, not -1\n"
