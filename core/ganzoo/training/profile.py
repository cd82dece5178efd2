"""What a training spends its time on, measured over a few steps and held against what the machine can do."""

from __future__ import annotations

import gzip
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.profiler import ProfilerActivity
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganzoo.config.config import Config
from ganzoo.data.dataset import Dataset
from ganzoo.files import remove, write_atomic
from ganzoo.runs import checkpoint
from ganzoo.training.devices import resolve_device
from ganzoo.training.loop import Loop

__all__ = ["STEPS", "Profile", "profile"]

STEPS = 20
"""Steps that are timed, and then as many that are traced."""

WARM_UP = 5
LARGEST = 5
COMPRESSED = 16 * 2**20
"""Bytes above which the trace is compressed."""


@dataclass(frozen=True)
class Profile:
    """What a training spends its time on.

    ``busy`` is the share of the time in which a CUDA device computes or copies; on the CPU, that of torch's operators
    and not of Python. ``largest`` are the kernels, on the CPU the operators, that take the most time, with their shares
    of the time of all. ``flops`` counts the floating-point operations of products and convolutions in a step on
    average. ``limits`` are what this device reaches in this process: FLOP/s of matrix products by precision, and
    ``copy``, bytes a second read and written.
    """

    trace: Path
    device: str
    samples_per_second: float
    milliseconds: float
    busy: float
    largest: tuple[tuple[str, float], ...]
    flops: float
    limits: dict[str, float]
    precision: str

    @property
    def attained(self) -> float:
        """The share of the rate of matrix products that the training reaches."""
        return self.flops / (self.milliseconds / 1e3) / self.limits[self.precision]

    def lines(self) -> list[str]:
        """Return the profile as lines of text."""
        cuda = self.device.startswith("cuda")
        limits = [f"{name} {rate / 1e12:,.2f} TFLOP/s" for name, rate in self.limits.items() if name != "copy"]
        return [
            f"profile of {STEPS} steps on {self.device}; trace, for ui.perfetto.dev: {self.trace}",
            f"  {self.samples_per_second:,.0f} samples/s, {self.milliseconds:,.2f} ms a step",
            f"  {self.busy:.0%} of the time {'the GPU is busy' if cuda else 'is in operators, the rest in Python'}",
            f"  {self.flops / 1e9:,.2f} GFLOP a step: {self.attained:.1%} of what matrix products reach here in "
            f"{self.precision}",
            f"  limits measured: {', '.join(limits)}, copies {self.limits['copy'] / 1e9:,.1f} GB/s",
            *(f"  {share:6.1%}  {name[:100]}" for name, share in self.largest),
        ]


def profile(config: Config, dataset: Dataset, folder: Path) -> Profile:
    """Profile a training of these settings, and write its trace into ``folder``.

    A new training takes steps to warm up, steps that are timed, and steps that are traced with ``torch.profiler``; then
    it is discarded. The trace is ``profile.json``, in Chrome's format, or ``profile.json.gz`` if it is large. torch's
    global random state is another one afterwards.
    """
    # Otherwise the profiler's library writes to stderr that it starts and ends.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    device = resolve_device(config.train.device)
    checkpoint.seed_random(config.train.seed)
    trainer = config.build_trainer(dataset.spec)
    trainer.to(device)
    # A training of fewer steps than are profiled would end, and with it what its schedule is defined for.
    least = WARM_UP + 2 * STEPS
    loop = Loop(trainer, dataset, config.train.model_copy(update={"steps": max(config.train.steps, least)}))
    loop.start_stream()
    flops = _flops(loop)
    _seconds(loop.advance, WARM_UP, device)
    seconds = _seconds(loop.advance, STEPS, device) / STEPS
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        traced = _seconds(loop.advance, STEPS, device)
    # What is left of records, as of an optimizer's step, covers the operators inside.
    events: list[Any] = [each for each in profiler.events() or () if not each.is_user_annotation]
    spent = Counter[str]()
    if device.type == "cuda":
        kernels = [each for each in events if each.device_type.name == "CUDA"]
        for kernel in kernels:
            spent[kernel.name] += kernel.time_range.elapsed_us()
        # By the steps that were only timed: being traced, Python takes longer, and kernels do not.
        busy = _union((each.time_range.start, each.time_range.end) for each in kernels) / 1e6 / STEPS / seconds
    else:
        for operator in events:
            spent[operator.name] += operator.self_cpu_time_total
        busy = spent.total() / 1e6 / traced
    limits = _limits(device)
    return Profile(
        trace=_write(profiler, folder),
        device=str(device),
        samples_per_second=config.train.batch_size * config.train.accumulate / seconds,
        milliseconds=1e3 * seconds,
        busy=min(busy, 1.0),
        largest=tuple((name, time / spent.total()) for name, time in spent.most_common(LARGEST)),
        flops=flops,
        limits=limits,
        precision=loop.settings.precision if loop.settings.precision in limits else "fp32",
    )


def _seconds(call: Callable[[], object], times: int, device: torch.device) -> float:
    """Return how long so many calls take, until the device has done its work."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda _: None
    wait(device)
    since = time.perf_counter()
    for _ in range(times):
        call()
    wait(device)
    return time.perf_counter() - since


def _flops(loop: Loop) -> float:
    """Return the floating-point operations of a step on average, without those of the optimizers."""
    total = 0.0
    for phase in loop.phases:
        with _Flops() as counter:
            loop.differentiate(phase)
        total += counter.total * phase.repeat / phase.every
        loop.trainer.optimizers[phase.optimizer].zero_grad(set_to_none=True)
    return total


class _Flops(TorchDispatchMode):
    """Adds up the operations of what runs while it is entered; torch's own counter refuses gradient penalties."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if (count := flop_registry.get(func.overloadpacket)) is not None:
            self.total += count(*args, **kwargs, out_val=out)
        return out


def _union(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of all intervals together, where several overlap counted once."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _limits(device: torch.device) -> dict[str, float]:
    """Measure the rate of large matrix products in each precision, and of copies."""
    cuda = device.type == "cuda"
    n = 8192 if cuda else 1024
    precisions = {"fp32": "ieee", "tf32": "tf32", "bf16": "ieee"} if cuda else {"fp32": "ieee", "bf16": "ieee"}
    before = torch.backends.cuda.matmul.fp32_precision
    limits = {}
    try:
        for name, kind in precisions.items():
            torch.backends.cuda.matmul.fp32_precision = kind
            a = torch.ones(n, n, dtype=torch.bfloat16 if name == "bf16" else torch.float32, device=device)
            limits[name] = 2 * n**3 / _fastest(lambda a=a: a @ a, device)  # type: ignore[misc]
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    # Far larger than caches; each byte is read and written.
    source = torch.ones(2**28 if cuda else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    limits["copy"] = 2 * source.nbytes / _fastest(lambda: target.copy_(source), device)
    return limits


def _fastest(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the fastest of several calls."""
    return min(_seconds(call, 1, device) for _ in range(6))


def _write(profiler: torch.profiler.profile, folder: Path) -> Path:
    with TemporaryDirectory() as aside:
        made = Path(aside) / "profile.json"
        profiler.export_chrome_trace(str(made))
        data = made.read_bytes()
    large = len(data) > COMPRESSED
    paths = folder / "profile.json", folder / "profile.json.gz"
    write_atomic(paths[large], gzip.compress(data, 6) if large else data)
    remove(paths[not large])
    return paths[large]
