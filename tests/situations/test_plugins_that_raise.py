"""Plugins that raise what is no Exception: it is theirs alone, but for Ctrl-C, which is always the user's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sites import Site

from ganzoo import UserError
from ganzoo.plugin.isolation import isolated

OFFER = "\n@hookimpl\ndef ganzoo_specs():\n    return [Spec('loss', 'x', 'Summary.', '{}:Loss')]\n"
FOREIGN = {
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit": "GeneratorExit",
    "raise SystemExit('no license')": "SystemExit: no license",
    "class Own(BaseException): pass\nraise Own('for ever')": "Own: for ever",
    "raise StopIteration": "StopIteration",
}


@pytest.mark.parametrize("source", FOREIGN)
def test_a_target_that_raises_it_is_one_sentence(source: str, site: Site) -> None:
    site.add("one", plugin=OFFER.format("one_loss"))
    (site.folder / "one_loss.py").write_text(source)
    with pytest.raises(UserError) as raised:
        site.load().get("loss", "x").spec.load()
    assert str(raised.value) == (
        f"the loss 'x' of plugin one/plugin 1.0 cannot be loaded from one_loss:Loss: {FOREIGN[source]}"
    )


@pytest.mark.parametrize("source", FOREIGN)
def test_a_listener_that_raises_it_is_muted(source: str, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    body = "".join(f"    {line}\n" for line in source.splitlines())
    site.add("one", plugin=f"@hookimpl\ndef ganzoo_log():\n{body}")
    site.load().notify("ganzoo_log", run=Path(), step=1, metrics={})
    sentence = f"plugin one/plugin 1.0 failed in ganzoo_log and is told nothing more: {FOREIGN[source]}"
    assert caplog.messages == [sentence]


KILL = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)"
SWALLOWED = f"try:\n    {KILL.splitlines()[1]}\nexcept BaseException:\n    raise ImportError('no luck')"


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
@pytest.mark.parametrize("source", [KILL, f"import os, signal\n{SWALLOWED}"])
def test_a_real_interrupt_ends_the_program_whatever_the_plugin_makes_of_it(source: str, site: Site) -> None:
    body = "".join(f"    {line}\n" for line in source.splitlines())
    site.add("aaa", plugin=source)
    site.add("bbb", plugin=OFFER.format("bbb_loss") + f"@hookimpl\ndef ganzoo_log():\n{body}")
    (site.folder / "bbb_loss.py").write_text(source)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        site.load()
    (site.folder / "aaa_plugin.py").write_text("")
    registry = site.load()
    with pytest.raises(KeyboardInterrupt):
        registry.get("loss", "x").spec.load()
    with pytest.raises(KeyboardInterrupt):
        registry.notify("ganzoo_log", run=Path(), step=1, metrics={})
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_a_handler_that_replaces_itself_has_its_way() -> None:
    """As that of a training does: the first Ctrl-C is remembered, the second interrupts at once."""
    asked = []

    def remember(*_: object) -> None:
        asked.append(1)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, remember)
    try:
        with isolated() as changes:
            os.kill(os.getpid(), signal.SIGINT)
        assert (asked, changes) == ([1], [])
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent there")
def test_ctrl_c_while_a_plugin_hangs_ends_the_command(site: Site, tmp_path: Path) -> None:
    started = tmp_path / "started"
    site.add("one", plugin=f"import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(60)")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site.folder), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "ganzoo", "list"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_in_a_thread_there_are_no_signals_to_mind(site: Site) -> None:
    site.add("one", plugin="raise KeyboardInterrupt")
    found = []
    thread = threading.Thread(target=lambda: found.append(site.load().plugins[0].reason))
    thread.start()
    thread.join()
    assert found == ["KeyboardInterrupt"]
