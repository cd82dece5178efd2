"""What is wrong with a plugin is one sentence, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import ROOT
from sites import Site, importable

from ganzoo import UserError
from ganzoo.plugin.registry import Registry

BROKEN = ROOT / "tests" / "broken"


REASONS = {
    "api_text": "it needs version '1' of the hooks, and this ganzoo has 1: update torch-ganzoo",
    "attribute": "ModuleNotFoundError: No module named 'broken_plugins.healthy:ganzoo_specs'",
    "bad_key": "ValueError: a key is made of letters, digits and _ - . , not 'bad/key'",
    "bad_signature": "ganzoo_log has no argument 'stepp'; did you mean 'step'?",
    "closes": "GeneratorExit",
    "exits": "SystemExit: 3",
    "gone": "Gone: for ever",
    "healthy_again": "its module broken_plugins.healthy is loaded already",
    "imports_missing": "ModuleNotFoundError: No module named 'no_such_package_of_anybody'",
    "interrupts": "KeyboardInterrupt",
    "keyword_only": "ganzoo_log gets its arguments by place, 'step' too",
    "missing": "ModuleNotFoundError: No module named 'broken_plugins.missing'",
    "misspelt": "there is no hook 'ganzoo_spec'; did you mean 'ganzoo_specs'?",
    "mute": "Mute",
    "newer": "it needs version 99 of the hooks, and this ganzoo has 1: update torch-ganzoo",
    "raises": "RuntimeError: two lines",
    "repeats": "broken-plugins offers the model 'healthy' twice",
    "specs_exit": "SystemExit: no license",
    "specs_none": "its ganzoo_specs returns NoneType where a list of Spec is due",
    "specs_raise": "KeyError: 'gone'",
    "specs_text": "its ganzoo_specs returns str where a list of Spec is due",
    "specs_tuples": "its ganzoo_specs returns tuple where a list of Spec is due",
    "syntax": "SyntaxError: ",  # what follows is Python's and differs by version
    "twice": "broken-plugins offers the loss 'same' twice",
    "wrapper": "its ganzoo_log is a wrapper, and ganzoo has none",
}


@pytest.fixture(scope="module")
def broken() -> Iterator[Registry]:
    with importable(BROKEN):
        yield Registry([str(BROKEN)])


def test_every_broken_plugin_is_there_with_its_reason(broken: Registry) -> None:
    failed = {p.name: p.reason for p in broken.plugins if p.status == "failed" and p.distribution == "broken-plugins"}
    failed["syntax"] = failed["syntax"][: len(REASONS["syntax"])]
    assert failed == REASONS


def test_every_file_of_broken_plugins_is_tried(broken: Registry) -> None:
    files = {file.stem for file in (BROKEN / "broken_plugins").glob("*.py")} - {"__init__"}
    assert files == {p.name for p in broken.plugins if p.distribution == "broken-plugins"} - {
        "attribute",
        "healthy_again",
        "missing",
    }


def test_a_malformed_distribution_is_one_failure(broken: Registry) -> None:
    (malformed,) = (plugin for plugin in broken.plugins if plugin.distribution == "malformed")
    assert malformed.trouble == "plugin malformed/* 0.1 failed to load: its entry_points.txt cannot be read"


def test_nothing_of_a_broken_plugin_stays(broken: Registry) -> None:
    assert [entry.name for entry in broken.specs()] == ["broken-plugins/healthy"]
    assert [plugin.name for plugin in broken.plugins if plugin.status == "loaded"] == ["healthy"]
    assert all(plugin.specs == () for plugin in broken.plugins if plugin.status != "loaded")
    assert not broken.listens("ganzoo_log")
    with pytest.raises(UserError, match="unknown model 'raises'"):
        broken.get("model", "raises")


@pytest.mark.parametrize("name", [*REASONS, "malformed"])
def test_strict_makes_each_failure_fatal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {*REASONS, "malformed"} - {name}
    monkeypatch.setenv("GANZOO_STRICT_PLUGINS", "1")
    if name == "malformed":
        monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", "broken_plugins")
        expected = "plugin malformed/"
    else:
        monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", ",".join(others))
        expected = f"plugin broken-plugins/{name} 1.2 failed to load: {REASONS[name]}"
    with importable(BROKEN), pytest.raises(UserError) as raised:
        Registry([str(BROKEN)])
    assert str(raised.value).startswith(expected)
    assert str(raised.value).endswith("(GANZOO_STRICT_PLUGINS is set)")


@pytest.mark.parametrize("value", ["", "0"])
def test_strict_can_be_off(value: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANZOO_STRICT_PLUGINS", value)
    site.add("one", plugin="1 / 0")
    assert [plugin.status for plugin in site.load().plugins] == ["failed"]
