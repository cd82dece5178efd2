"""How fast each side is: all take turns in one process, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from training_speed import machine
from training_speed.sides import Arena, NotUsable, Steps, build


def measure(
    arena: Arena, sides: list[str], threads: int, limits: dict[str, float], rounds: int, seconds: float, memory: bool
) -> dict[str, Any]:
    """Return figures by side: images a second, ratio to the textbook, FLOPs, share of the attainable rate, memory.

    A turn is at least ``seconds`` long for the textbook, and as many steps for all. ``limits`` are the machine's rates
    in this place. A side that cannot take part has only ``skipped``, the reason.
    """
    torch.set_num_threads(threads)
    found: dict[str, Any] = {}
    running: dict[str, Steps] = {}
    for side in sides:
        try:
            running[side] = build(arena, side)
            running[side](1)  # what fails to run at all fails here
        except NotUsable as reason:
            found[side] = {"skipped": str(reason)}
    period = arena.period
    started = time.perf_counter()
    running["textbook"](period)
    machine.wait(arena.device)
    steps = period * math.ceil(seconds / (time.perf_counter() - started))
    times: dict[str, list[float]] = {side: [] for side in running}
    for number in range(-1, rounds):  # the first round warms up
        order = list(running)
        for side in order[number % len(order) :] + order[: number % len(order)]:
            started = time.perf_counter()
            running[side](steps)
            machine.wait(arena.device)
            if number >= 0:
                times[side].append(time.perf_counter() - started)
    # A graph's replay shows no operators, and bfloat16 has the same: both do what plain ganzoo does.
    flops = {side: _flops(running[side], period) for side in ("textbook", "ganzoo") if side in running}
    images = arena.case().images_a_step * steps
    for side, turns in times.items():
        ratios = [a / b for a, b in zip(times["textbook"], turns, strict=True)]
        count = flops.get(side, flops.get("ganzoo", 0.0)) * steps
        attainable = limits["bf16" if "bf16" in side else "fp32"] * 1e12
        found[side] = {
            "images_per_second": round(images / statistics.median(turns), 1),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_quartiles": [round(each, 3) for each in statistics.quantiles(ratios)[::2]],
            "megaflops_an_image": round(count / images / 1e6, 1),
            "share": round(count / statistics.median(turns) / attainable, 3),
        }
        if memory:
            found[side]["peak_mb"] = _peak(arena, side, threads)
    return {"rounds": rounds, "steps_a_turn": steps, "sides": found}


class _Counter(TorchDispatchMode):
    """Counts what ``torch.utils.flop_counter`` knows the formula of; its own mode fails within ``autograd.grad``."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def _flops(steps: Steps, period: int) -> float:
    """Return the floating-point operations of a step, of matrix products and convolutions."""
    with _Counter() as counter:
        steps(period)
    return counter.flops / period


def _peak(arena: Arena, side: str, threads: int) -> int:
    """Return the most memory, in MB, that a process takes which trains nothing but this side."""
    context = torch.multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report_peak, args=(sender, arena, side, threads), daemon=True)
    process.start()
    peak: int = receiver.recv()
    process.join()
    return peak


def _report_peak(pipe: Any, arena: Arena, side: str, threads: int) -> None:
    torch.set_num_threads(threads)
    build(arena, side)(3)
    pipe.send(machine.peak_megabytes(arena.device))
