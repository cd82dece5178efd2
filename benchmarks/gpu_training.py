"""Training on a GPU, for ``benchmarks/gpu.py``: images a second, peak memory, the share of time the GPU is busy.

Ways, all in one process and in turn; each figure is the median of the turns, the ratio is to ``eager``:

    eager           every operation launched from Python, fp32, as all of ganzoo did before it had graphs
    eager, bf16
    graphs          phases captured as CUDA graphs, fp32
    graphs, tf32
    graphs, bf16
    ..., NCHW       the same with batches and weights channels first
    graphs, deterministic    fp32

``refused`` names phases that were not captured, and why; ``begin`` is how many seconds the first steps took, in which
graphs are captured and tried. ``profile`` is what ``ganzoo train --profile`` says, eager and as trained by default.
``whole`` is a training by the command line, with all that it does beside its steps.
"""

import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from training_speed import machine

from ganzoo import Loop, load_config, load_registry
from ganzoo.data.stream import Stream
from ganzoo.runs import checkpoint
from ganzoo.training.determinism import determinism
from ganzoo.training.profile import profile

_SHAPES = {"name": "shapes", "condition": "none"}
_DIGITS = {"name": "mnist5k"}
CASES: dict[str, tuple[str, str | None, dict[str, Any], dict[str, Any], int | None]] = {
    "gan_fc": ("gan_fc", None, {}, _DIGITS, None),
    "wgan_gp_conv": ("wgan_gp_conv", None, {}, _DIGITS, None),
    "dcgan 28x28": ("dcgan", None, {}, _DIGITS, None),
    "dcgan 64x64, width 64": ("dcgan", None, {"width": 64}, {**_SHAPES, "image_size": 64}, 128),
    "dcgan 64x64, paper": ("dcgan", "paper", {}, {**_SHAPES, "image_size": 64}, 128),
    "sngan 32x32": ("sngan", None, {}, {**_SHAPES, "image_size": 32}, None),
    "r3gan 32x32": ("r3gan", None, {}, {**_SHAPES, "image_size": 32}, None),
    "cyclegan": ("cyclegan", None, {}, {"name": "shapes_styles"}, None),
}
WAYS: dict[str, dict[str, Any]] = {
    "eager": {"precision": "fp32", "capture": "false"},
    "eager, bf16": {"precision": "bf16", "capture": "false"},
    "graphs": {"precision": "fp32"},
    "graphs, tf32": {"precision": "tf32"},
    "graphs, bf16": {"precision": "bf16"},
    "graphs, tf32, NCHW": {"precision": "tf32"},
    "graphs, bf16, NCHW": {"precision": "bf16"},
    "graphs, deterministic": {"precision": "fp32"},
}
_data: dict[str, Any] = {}
TURNS, TURN = 3, 0.15  # seconds of each of the turns


def run(device: str, quick: bool, out: Callable[[Any], None]) -> None:
    """Measure everything, and call ``out`` with what is known after each case."""
    section: dict[str, Any] = {"limits": machine.limits(device), "models": {}, "profile": {}, "data": {}}
    print(section["limits"], flush=True)
    for name in ("gan_fc", "wgan_gp_conv") if quick else CASES:
        section["models"][name] = rates(name, device)
        out(section)
    for name in ("gan_fc",) if quick else ("wgan_gp_conv", "dcgan 64x64, paper", "cyclegan"):
        section["data"][name] = data(name, device)
        print(name, section["data"][name], flush=True)
    for name in ("gan_fc",) if quick else CASES:
        section["profile"][name] = {way: profiled(name, device, way) for way in ("default", "eager")}
        out(section)
    section["whole"] = whole(device, 30 if quick else 600)
    print("whole", section["whole"], flush=True)
    out(section)


def made(name: str, device: str, way: str) -> tuple[Any, Any, Loop]:
    """Return config, data set and training of a case."""
    plugin, preset, model, data, batch_size = CASES[name]
    flags: dict[str, Any] = {"device": device, "data": data, "model": model, "seed": 0}
    sets = [f"{key}={value}" for key, value in WAYS.get(way, {}).items()]
    sets += [f"batch_size={batch_size}"] * (batch_size is not None)
    config = load_config(load_registry(), plugin, preset=preset, flags=flags, sets=sets)
    if name not in _data:
        _data[name] = config.build_dataset()  # takes longer than what is measured
    dataset = _data[name]
    checkpoint.seed_random(0)
    trainer: Any = config.build_trainer(dataset.spec)
    trainer.to(torch.device(device))
    if "NCHW" in way:
        prepare = trainer.prepare
        trainer.prepare = lambda batch: {key: value.contiguous() for key, value in prepare(batch).items()}
        for network in trainer.networks.values():
            network.to(memory_format=torch.contiguous_format)
    return config, dataset, Loop(trainer, dataset, config.train)


def context(way: str) -> AbstractContextManager[None]:
    return determinism("deterministic" in way)


def rates(name: str, device: str) -> dict[str, Any]:
    """Return figures by way."""
    found: dict[str, Any] = {}
    loops: dict[str, Loop] = {}
    for way in WAYS:
        try:
            with context(way):
                # For a moment of each way alone, since all that is held counts.
                held = torch.cuda.memory_allocated() if device == "cuda" else 0
                _, _, loop = made(name, device, way)
                loop.start_stream()
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                period = max(phase.every for phase in loop.phases)
                begin = seconds(loop, 2, device) + seconds(loop, period, device) * (period > 1)
                found[way] = {"begin": round(begin, 2)}
                if device == "cuda":
                    found[way]["peak_mb"] = round((torch.cuda.max_memory_allocated() - held) / 1e6)
                if loop.captures is not None and loop.captures.refused:
                    found[way]["refused"] = loop.captures.refused
                loops[way] = loop
        except Exception as error:
            found[way] = {"not usable": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
            print(name, way, found[way], flush=True)
    turns: dict[str, list[float]] = {way: [] for way in loops}
    steps = {}
    for number in range(-1, TURNS):  # the first turn warms up, and says how many steps one has
        for way, loop in loops.items():
            period = max(phase.every for phase in loop.phases)
            with context(way):
                if number < 0:
                    once = seconds(loop, period, device) / period
                    steps[way] = period * max(1, round(TURN / once / period))
                else:
                    turns[way].append(seconds(loop, steps[way], device) / steps[way])
    for way, times in turns.items():
        loop = loops[way]
        a_step = loop.settings.batch_size * max(phase.repeat for phase in loop.phases)
        found[way]["images_per_second"] = round(a_step / statistics.median(times))
        if "eager" in turns:
            found[way]["ratio"] = round(statistics.median(turns["eager"]) / statistics.median(times), 2)
        found[way]["spread"] = round(max(times) / min(times), 2)
        print(name, way, found[way], flush=True)
    return found


def seconds(loop: Loop, steps: int, device: str) -> float:
    """Return how long so many steps take, and the reading of what they log."""
    machine.wait(device)
    start = time.perf_counter()
    for _ in range(steps):
        loop.advance()
    loop.take_logs()
    machine.wait(device)
    return time.perf_counter() - start


def data(name: str, device: str) -> dict[str, float]:
    """Return the images a second that batches alone are made at: from the device, and copied to it from the CPU."""
    _, dataset, loop = made(name, device, "eager")
    size, place = loop.settings.batch_size, torch.device(device)

    def streams() -> Iterator[tuple[str, Stream]]:
        from ganzoo.data import placement

        yield "on the device", Stream(dataset, size, 0, device=place)
        fits, placement.fits = placement.fits, lambda bytes_, free: False
        try:
            yield "copied", Stream(dataset, size, 0, device=place)
        finally:
            placement.fits = fits

    found = {}
    for way, stream in streams():
        take = partial(_take, loop, stream)
        take(20, device)
        found[way] = round(200 * size / take(200, device))
    return found


def _take(loop: Loop, stream: Stream, times: int, device: str) -> float:
    start = time.perf_counter()
    for _ in range(times):
        loop.trainer.prepare(next(stream))
    machine.wait(device)
    return time.perf_counter() - start


def profiled(name: str, device: str, way: str) -> Any:
    """Return what ``ganzoo train --profile`` says."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            config, dataset, _ = made(name, device, way)
            found = profile(config, dataset, Path(folder))
    except Exception as error:
        return {"not usable": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    print(name, way, *found.lines()[1:], sep="\n", flush=True)
    return {
        "images_per_second": round(found.samples_per_second),
        "busy": round(found.busy, 3),
        "gflop": round(found.flops / 1e9, 2),
        "attained": round(found.attained, 3),
        "precision": found.precision,
        "largest": [[kernel[:80], round(share, 3)] for kernel, share in found.largest],
    }


def whole(device: str, steps: int) -> dict[str, Any]:
    """Return the seconds of a training by the command line, eager and as it is by default."""
    found = {}
    for way, sets in {"eager": ("capture=false", "precision=fp32"), "default": ()}.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            command = [sys.executable, "-m", "ganzoo", "train", "-p", "dcgan", "--data", "mnist5k"]
            command += ["--steps", str(steps), "--set", f"device={device}", "--out", "run"]
            command += [word for each in sets for word in ("--set", each)]
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            took = time.perf_counter() - start
        said = (done.stdout + done.stderr).splitlines()
        rate = [line.strip() for line in said if re.search(r"/s\b", line)]
        found[way] = {"seconds": round(took, 1), "rc": done.returncode, "said": rate[-3:] or said[-3:]}
    return found
