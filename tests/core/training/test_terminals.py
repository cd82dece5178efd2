"""The command in a process of its own: a bar on a terminal, a reader that hangs up, a command that is none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from test_run_for_real import GANZOO


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
