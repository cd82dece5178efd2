"""How fast each side is: all take turns, each in a process of its own, so that whatever else happens hits all alike.

Of its own, because what ganzoo sets for its training (how memory is kept, denormal numbers) is set for the process.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
import time
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from training_speed import machine
from training_speed.sides import OURS, Arena, NotUsable, Steps, opened


def measure(
    arena: Arena, sides: list[str], threads: int, limits: dict[str, float], rounds: int, seconds: float
) -> dict[str, Any]:
    """Return figures by side: images a second, ratio to the textbook, FLOPs, share of the attainable rate, memory.

    A turn is at least ``seconds`` long for the textbook, and as many steps for all. ``limits`` are the machine's rates
    in this place. A side that cannot take part has only ``skipped``, the reason.
    """
    found: dict[str, Any] = {}
    running: dict[str, _Worker] = {}
    for side in sides:
        try:
            running[side] = _Worker(arena, side, threads)
        except NotUsable as reason:
            found[side] = {"skipped": str(reason)}
    period = arena.period
    steps = period * math.ceil(seconds / running["textbook"].ask("seconds", period))
    times: dict[str, list[float]] = {side: [] for side in running}
    for number in range(-1, rounds):  # the first round warms up
        order = list(running)
        for side in order[number % len(order) :] + order[: number % len(order)]:
            taken = running[side].ask("seconds", steps)
            if number >= 0:
                times[side].append(taken)
    images = arena.case({}).images_a_step * steps
    for side, turns in times.items():
        ratios = [a / b for a, b in zip(times["textbook"], turns, strict=True)]
        peak = running[side].ask("peak", 0)
        # A graph's replay shows no operators, and does what plain ganzoo does.
        counting = "ganzoo" if "captured" in side else side
        count = running[counting].ask("flops", period) / period * steps if counting in running else 0.0
        attainable = limits[OURS.get(side, {}).get("precision", "fp32")] * 1e12
        found[side] = {
            "images_per_second": round(images / statistics.median(turns), 1),
            "images_per_second_quartiles": [round(images / each, 1) for each in statistics.quantiles(turns)[::-2]],
            "ratio": round(statistics.median(ratios), 3),
            "ratio_quartiles": [round(each, 3) for each in statistics.quantiles(ratios)[::2]],
            "megaflops_an_image": round(count / images / 1e6, 1),
            "share": round(count / statistics.median(turns) / attainable, 3),
            "peak_mb": peak,
        }
    for worker in running.values():
        worker.pipe.close()
        worker.process.join()
    return {
        "batch_size": arena.case({}).config.train.batch_size,
        "rounds": rounds,
        "steps_a_turn": steps,
        "sides": found,
    }


class _Worker:
    """A process that trains one side, and nothing else, when it is asked to."""

    def __init__(self, arena: Arena, side: str, threads: int) -> None:
        # Forked from a process that has imported torch and done nothing with it yet.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["training_speed.sides"])
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, arena, side, threads), daemon=True)
        self.process.start()
        theirs.close()
        if reason := self._answer():
            raise NotUsable(reason)

    def ask(self, what: str, steps: int) -> float:
        """Train so many steps and return the seconds or the FLOPs that they took; or the peak of memory in MB."""
        self.pipe.send((what, steps))
        return self._answer()

    def _answer(self) -> Any:
        try:
            return self.pipe.recv()
        except EOFError:
            raise SystemExit("a side has failed; see above") from None


def _work(pipe: Any, arena: Arena, side: str, threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        with opened(arena, side) as steps:
            steps(1)  # what fails to run at all fails here
            pipe.send("")
            while question := _next(pipe):
                what, count = question
                if what == "peak":
                    pipe.send(machine.peak_megabytes(arena.device))
                elif what == "flops":
                    with _Counter() as counter:
                        steps(count)
                    pipe.send(counter.flops)
                else:
                    pipe.send(_seconds(steps, count, arena.device))
    except NotUsable as reason:
        pipe.send(str(reason))


def _next(pipe: Any) -> tuple[str, int] | None:
    try:
        question: tuple[str, int] = pipe.recv()
    except EOFError:  # nobody will ask any more
        return None
    return question


def _seconds(steps: Steps, count: int, device: str) -> float:
    started = time.perf_counter()
    steps(count)
    machine.wait(device)
    return time.perf_counter() - started


class _Counter(TorchDispatchMode):
    """Counts what ``torch.utils.flop_counter`` knows the formula of; its own mode fails within ``autograd.grad``."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result
