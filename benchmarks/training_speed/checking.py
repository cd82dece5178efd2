"""Whether textbook and ganzoo have the same losses: equal initial weights, batches and random draws.

In float64 they agree as far as rounding lets them. In float32 training amplifies the rounding: Adam divides a gradient
by its own size, so that where it is nearly zero its rounding error becomes a full step. How far that goes is measured:
the textbook is trained a second time from weights changed by one unit in the last place, and ganzoo may differ from the
textbook by no more than ten times what the textbook then differs from itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor

from ganzoo import Loop
from training_speed.cases import Case

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""How far a loss may differ, relative to itself (or to 0.1 if it is smaller), whatever rounding does."""


@dataclass
class Difference:
    """By how much losses differ, step by step: ganzoo's from the textbook's, and the textbook's from its own."""

    ours: list[float]
    rounding: list[float]
    dtype: torch.dtype

    @property
    def small(self) -> bool:
        """Whether ganzoo's losses are the textbook's, but for rounding."""
        tolerance = TOLERANCE[self.dtype]
        return self.ours[0] < tolerance and max(self.ours) < max(tolerance, 10 * max(self.rounding))

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        steps = [step for step in (1, 5, 10, 20, 50, len(self.ours)) if step <= len(self.ours)]
        shown = ", ".join(f"{self.ours[step - 1]:.0e} ({self.rounding[step - 1]:.0e}) at {step}" for step in steps)
        return f"{kind}: {shown}; at most {max(self.ours):.1e} ({max(self.rounding):.1e})"


def check(case: Case, steps: int = 50, dtype: torch.dtype = torch.float32) -> Difference:
    """Train both on the same batches with the same draws, and the textbook once more from slightly other weights."""
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        ours = case.ours(dtype)
        # What a lazy penalty draws (translations or samples that R1 does not look at) is no draw of the textbook's.
        ours.phases = [replace(each, loss=_undrawn(each.loss)) if each.every > 1 else each for each in ours.phases]
        expected = _textbook_losses(case, ours, steps)
        networks = ours.trainer.networks.values()
        begin = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
        with torch.no_grad():
            for network in networks:
                for parameter in network.parameters():
                    parameter.mul_(1 + torch.finfo(dtype).eps * torch.randn_like(parameter).sign())
        nudged = _textbook_losses(case, ours, steps)
        for network, weights in zip(networks, begin, strict=True):
            network.load_state_dict(weights)
        torch.manual_seed(1)
        got = []
        for _ in range(steps):
            ours.advance()
            phases = sorted(phase.name for phase in ours.phases if phase.every == 1)  # discriminators come first
            got.append([value.item() for name in phases for value in ours.logs[f"{name}/loss"]])
            ours.logs.clear()
        return Difference(_differences(got, expected), _differences(nudged, expected), dtype)
    finally:
        torch.set_default_dtype(previous)


def _undrawn(loss: Callable[..., Any]) -> Callable[..., Any]:
    def undrawn(batch: Any) -> Any:
        with torch.random.fork_rng():
            return loss(batch)

    return undrawn


def _textbook_losses(case: Case, ours: Loop, steps: int) -> list[list[float]]:
    textbook = case.textbook(ours, _batches(ours))
    torch.manual_seed(1)
    return [[*discriminator, generator] for discriminator, generator in islice(textbook, steps)]


def _batches(ours: Loop) -> Iterator[tuple[Tensor, ...]]:
    """Yield the batches that ganzoo's phases are given, but for an unconditional generator's, which takes the size."""
    position = 0
    for number in count():
        for phase in ours.phases:
            for _ in range(phase.repeat if number % phase.every == 0 else 0):
                if phase.name != "generator":
                    batch = ours.trainer.prepare(ours.stream.fetch(position))
                    yield tuple(value.contiguous() for value in batch.values() if value.dim() == 4)
                position += 1


def _differences(got: list[list[float]], expected: list[list[float]]) -> list[float]:
    return [
        max(abs(a - b) / max(abs(b), 0.1) for a, b in zip(*losses, strict=True))
        for losses in zip(got, expected, strict=True)
    ]
