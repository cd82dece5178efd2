"""Plugins are told what happens: in order, each what it takes, and one that fails harms no other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sites import Site

from ganzoo.plugin.registry import Registry

LISTENER = """
heard = []

@hookimpl
def ganzoo_log(step, metrics):
    heard.append(("log", step, dict(metrics)))

@hookimpl
def ganzoo_fit_end(outcome, step=None, added_in_api_2="default"):
    heard.append((outcome, step, added_in_api_2))
"""
FAILING = """
calls = []

@hookimpl
def ganzoo_log(step):
    calls.append(step)
    raise {error}

@hookimpl
def ganzoo_fit_end(step):
    calls.append(step)
"""


def tell(registry: Registry, step: int) -> None:
    registry.notify("ganzoo_log", run=Path(), step=step, metrics={"loss": 1.0})


def test_each_listener_gets_what_it_takes(site: Site) -> None:
    site.add("one", plugin=LISTENER)
    registry = site.load()
    tell(registry, 5)
    registry.notify("ganzoo_fit_end", run=Path(), step=6, outcome="done")
    assert sys.modules["one_plugin"].heard == [("log", 5, {"loss": 1.0}), ("done", 6, "default")]


def test_listeners_are_told_in_loading_order(site: Site) -> None:
    source = "import sys\n@hookimpl({})\ndef ganzoo_log():\n    sys.heard.append(__name__)\n"
    site.add("zzz", plugin=source.format("tryfirst=True"))
    site.add("aaa", plugin=source.format("trylast=True"))
    site.add("torch-ganzoo", plugin=source.format(""))
    sys.heard = heard = []  # type: ignore[attr-defined]
    try:
        tell(site.load(), 1)
    finally:
        del sys.heard  # type: ignore[attr-defined]
    assert heard == ["torch_ganzoo_plugin", "aaa_plugin", "zzz_plugin"]


@pytest.mark.parametrize("error", ["ValueError('no\\n disk')", "SystemExit(3)", "KeyboardInterrupt(3)"])
def test_a_failing_listener_harms_nobody(error: str, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.add("aaa", "1.2", plugin=FAILING.format(error=error))
    site.add("bbb", plugin=LISTENER)
    registry = site.load()
    for step in (1, 2, 3):
        tell(registry, step)
    registry.notify("ganzoo_fit_end", run=Path(), step=4, outcome="done")
    assert [entry[1] for entry in sys.modules["bbb_plugin"].heard] == [1, 2, 3, 4]
    assert sys.modules["aaa_plugin"].calls == [1], "it is told nothing more, of other hooks neither"
    sentence = f"{error.partition('(')[0]}: {'3' if '3' in error else 'no disk'}"
    assert caplog.messages == [f"plugin aaa/plugin 1.2 failed in ganzoo_log and is told nothing more: {sentence}"]
    assert registry.plugins[0].status == "loaded"


def test_listens(site: Site) -> None:
    site.add("one", plugin=FAILING.format(error="ValueError"))
    registry = site.load()
    assert registry.listens("ganzoo_log")
    assert not registry.listens("ganzoo_samples")
    tell(registry, 1)
    assert not registry.listens("ganzoo_log")
    assert not registry.listens("ganzoo_fit_end")


def test_telling_wrongly_is_our_fault_and_no_plugins(site: Site) -> None:
    with pytest.raises(AssertionError, match="ganzoo_log takes"):
        site.load().notify("ganzoo_log", step=1)
    with pytest.raises(KeyError):
        site.load().notify("ganzoo_lgo", step=1)
