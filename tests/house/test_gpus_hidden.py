"""Tests see no GPU unless those for one are asked for; with stand-ins for the GPU and its driver."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

INSIDE = """
import os, subprocess, sys
from types import SimpleNamespace
import pytest
from ganzoo_runtime import providers

def driver(_):
    # what NVIDIA's says where the environment hides all devices: no device
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    def count(devices):
        devices._obj.value = 1
    return SimpleNamespace(cuInit=lambda _: 100 if hidden else 0, cuDeviceGetCount=count)

@pytest.fixture(autouse=True)
def there(monkeypatch):
    monkeypatch.setattr(providers.ctypes, "CDLL", driver)
    monkeypatch.setattr(providers.ort, "preload_dlls", lambda: None)
    providers._cuda_works.cache_clear()

def seen_by_a_child():
    code = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()

def test_of_anything():
    assert (seen_by_a_child(), providers._cuda_works()) == ("", False)

@pytest.mark.gpu
def test_of_a_gpu():
    assert (seen_by_a_child(), providers._cuda_works()) == ("0", True)
"""


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        ((), "1 passed, 1 deselected"),
        (("-n", "1"), "1 passed"),  # a process that pytest-xdist starts
        (("-m", "slow or gpu"), "1 passed, 1 deselected"),
        (("-m", "gpu"), "1 passed, 1 deselected"),
    ],
)
def test_gpus_are_hidden_unless_tests_for_one_are_asked_for(
    arguments: tuple[str, ...], passed: str, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_inside.py").write_text(INSIDE)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -m 'not slow and not gpu'\nmarkers =\n  slow\n  gpu\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "0"},
        capture_output=True,
        text=True,
    )
    assert passed in done.stdout.splitlines()[-1], done.stdout
    assert done.returncode == 0
