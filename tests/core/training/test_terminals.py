"""The command in a process of its own: a bar on a terminal, a reader that hangs up, a command that is none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_run_for_real import GANZOO

from ganzoo.terminal import Progress


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    arguments = ["train", "-p", "gan_fc", "--data", "digits", "--steps", "20", "--set", "model.hidden=[4]"]
    process = subprocess.Popen([*GANZOO, *arguments], cwd=tmp_path, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 10_000)
        except OSError:  # how a pty ends on Linux
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait() == 0, shown
    text = shown.decode()
    assert "\x1b[" in text
    assert "20/20" in text
    assert "━" in text
    assert "step 20/20" not in text


def test_the_first_line_comes_soon_and_later_ones_are_rare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("ganzoo.terminal.time", SimpleNamespace(perf_counter=lambda: now))
    with Progress(3000, 0) as progress:
        for step in range(1, 3001):
            now += 4.0 if step == 1 else 1.25  # an hour
            figures = {"samples_per_second": 53.3, "generator/loss": step / 1000, "peak_memory_mib": 7.0}
            progress.advance(step, figures if step % 50 == 0 else {})
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["step 1/3000", "step 5/3000  1:02:24 left"]
    assert next(line for line in lines if "generator" in line).startswith("step 53/3000  53 samples/s  generator 0.050")
    assert lines[-1] == "step 3000/3000  53 samples/s  generator 3.000  7 MiB  0:00 left"
    assert 100 < len(lines) < 125
    steps = [int(line.split("/")[0].removeprefix("step ")) for line in lines]
    assert max(later - step for step, later in pairwise(steps)) == 48  # a minute


def test_the_command_on_the_path(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "ganzoo"
    done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ganzoo 0.")
    done = subprocess.run([*GANZOO, "nonsense"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ganzoo: unknown command 'nonsense'; there is: check, compare, ")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_hangs_up_is_no_failure_to_talk_about(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m ganzoo list | head -c 1",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
