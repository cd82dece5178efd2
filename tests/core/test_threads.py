"""Trainings and loading from several threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given import Mine, train

import ganzoo
from ganzoo import (
    Run,
    UserError,
)

pytestmark = pytest.mark.usefixtures("elsewhere")


def in_a_thread(work: Callable[[], Any]) -> Any:
    result: list[Any] = []

    def call() -> None:
        try:
            result.append(work())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return result[0]


def test_a_thread_trains_as_the_main_one_does() -> None:
    here = train()
    there = in_a_thread(train)
    assert np.array_equal(ganzoo.load(here).sample(5), in_a_thread(lambda: ganzoo.load(there).sample(5)))
    found = in_a_thread(lambda: ganzoo.evaluate(there, data=Mine(), metrics=["modes"], n=20, quiet=True))
    assert found.figures["modes/of"] == 1


def test_a_process_that_does_all_in_a_thread() -> None:
    code = """
import threading, ganzoo
def work():
    run = ganzoo.train("gan_fc", data="gaussians", steps=2, config={"model": {"hidden": [8]}}, quiet=True)
    ganzoo.export(run, "g.onnx")
    ganzoo.load("g.onnx").save_grid("g.png", 50)
threads = [threading.Thread(target=each) for each in (work, ganzoo.load_registry, ganzoo.load_registry)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert ganzoo.load_registry() is ganzoo.load_registry()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    assert Path("g.png").stat().st_size > 100


def test_two_threads_do_not_train_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[Any] = []
    advance, begun = ganzoo.Loop.advance, threading.Event()

    def meanwhile(loop: ganzoo.Loop) -> None:
        if not begun.is_set():
            begun.set()
            met.append(in_a_thread(train))
        advance(loop)

    monkeypatch.setattr(ganzoo.Loop, "advance", meanwhile)
    train()
    assert isinstance(met[0], UserError)
    assert "another thread trains already" in str(met[0])
    assert isinstance(in_a_thread(train), Run), "when it is over, others may"
