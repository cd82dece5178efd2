"""The command line with streams that are closed, in terminals of any width, and interrupted at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command

GANZOO = f"{sys.executable} -m ganzoo"


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams by a POSIX shell")
@pytest.mark.parametrize(("closed", "out"), [("2>&-", "x.png\n"), (">&-", ""), ("<&- >&- 2>&-", "")])
def test_closed_streams(tmp_path: Path, closed: str, out: str) -> None:
    """What would go to a closed stream goes nowhere: neither into another stream, nor into a file with its number."""
    command = f"{GANZOO} sample zoo:gan_fc-mnist5k -n 1 --out x.png {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (0, out, False)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("columns", ["0", "-5", "1", "7", "40"])
def test_help_in_terminals_of_any_width(cli: Command, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    outcome = cli("--help")
    assert outcome.code == 0
    assert "  directions" in outcome.out


def test_a_terminal_that_does_not_know_its_width_has_80_columns(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    usual = cli("--help").out
    monkeypatch.setenv("COLUMNS", "0")
    assert cli("--help").out == usual


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "ImportError('initialization failed')"])
def test_ctrl_c_ends_without_a_traceback_while_libraries_are_imported(
    cli: Command, monkeypatch: pytest.MonkeyPatch, raised: str
) -> None:
    def importing() -> str:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise eval(raised) from None
        return ""

    monkeypatch.setattr("ganzoo.cli.overview", importing)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = cli("--help")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


def test_an_error_that_is_none_of_ctrl_c_is_raised(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def importing() -> str:
        raise ImportError("a library is broken")

    monkeypatch.setattr("ganzoo.cli.overview", importing)
    with pytest.raises(ImportError, match="a library is broken"):
        cli("--help")
