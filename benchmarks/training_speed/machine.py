"""The machine: what it is, how fast it can be, and how much memory a process took."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

_SIDES = {"cpu": 1536, "cuda": 8192}  # of the matrices whose product is timed
_MEGABYTES = {"cpu": 128, "cuda": 1024}  # that are copied


def describe() -> dict[str, Any]:
    """Return what timings depend on: ``kind`` names machines whose timings can be compared, and versions."""
    names = [_processor(), f"{os.cpu_count()} cores", torch.backends.cpu.get_cpu_capability()]
    if torch.cuda.is_available():
        names.append(torch.cuda.get_device_name())
    return {"kind": ", ".join(names), "python": platform.python_version(), "torch": torch.__version__}


def commit() -> str:
    """Return the commit that is measured, with a + if files differ from it."""
    here: Any = {"cwd": Path(__file__).parent, "capture_output": True, "text": True, "check": True}
    try:
        name = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], **here).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **here).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + "+" * bool(changed.strip())


def places(wanted: list[str]) -> dict[str, tuple[str, int]]:
    """Return device and number of threads by name, of those that this machine has."""
    everything = {"cpu 1": ("cpu", 1), "cpu all": ("cpu", torch.get_num_threads()), "cuda": ("cuda", 1)}
    if not torch.cuda.is_available():
        del everything["cuda"]
    return {name: place for name, place in everything.items() if not wanted or name in wanted}


def limits(device: str) -> dict[str, float]:
    """Return the rates of matrix products, in TFLOP/s by precision, and of a copy, in GB/s read and written."""
    side, found = _SIDES[device], {}
    for precision, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        if precision == "tf32" and device == "cpu":
            continue
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        with _tf32(precision == "tf32"):
            found[precision] = 2 * side**3 / _seconds(lambda a=a, b=b: a @ b, device) / 1e12
    source = torch.empty(_MEGABYTES[device] * 1_000_000, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    found["copy"] = 2 * len(source) / _seconds(lambda: target.copy_(source), device) / 1e9
    return {name: round(rate, 3) for name, rate in found.items()}


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _seconds(call: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(10):
        started = time.perf_counter()
        call()
        wait(device)
        times.append(time.perf_counter() - started)
    return min(times)  # a limit is what the machine reaches when nothing else disturbs it


def wait(device: str) -> None:
    """Wait until a GPU has done what it was asked for."""
    if device != "cpu":
        torch.cuda.synchronize()


def peak_megabytes(device: str) -> int:
    """Return the most memory that this process has held: the device's as torch counts it, or the process's own."""
    if device != "cpu":
        return round(torch.cuda.max_memory_allocated() / 1e6)
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent had when it spawned this process
        return round(int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e3)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
