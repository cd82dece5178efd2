"""The conformance kit catches, by the right check, dishonest optimizers, schedules, augmentations and trackers."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    Augmentation,
    AugmentationConfig,
    Optimizer,
    OptimizerConfig,
    Schedule,
    ScheduleConfig,
    Spec,
    Tracker,
    UserError,
)
from ganzoo.plugin.registry import Entry
from ganzoo.testing import augmentations, optimizers, trackers
from ganzoo.testing.results import run

CHECKS = {
    "optimizer": optimizers.optimizer_checks,
    "schedule": optimizers.schedule_checks,
    "augmentation": augmentations.checks,
    "tracker": trackers.checks,
}
TOYS: dict[type, tuple[str, str, str]] = {}


def toy(kind: str, caught: str = "", words: str = "") -> Any:
    """Offer the class; ``caught`` is the one check that fails, none for an honest one, with these words."""

    def offer(cls: type) -> type:
        TOYS[cls] = (kind, caught, words)
        return cls

    return offer


# --- optimizers -----------------------------------------------------------------------------------------------------


class Steps(torch.optim.Optimizer):
    """Gradient descent that the others spoil."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                self.move(parameter, group["lr"])

    def move(self, parameter: nn.Parameter, lr: float) -> None:
        if parameter.grad is not None:
            parameter.sub_(lr * self.direction(parameter, parameter.grad))

    def direction(self, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
        return gradient


def with_steps(name: str, caught: str = "", words: str = "", /, **methods: Any) -> None:
    steps = type(name, (Steps,), methods)

    def build(self: Any, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return steps(parameters, self.config.lr)

    globals()[name] = toy("optimizer", caught, words)(type(name, (Optimizer,), {"build": build}))


class MomentumConfig(OptimizerConfig):
    momentum: float = Field(0.5, description="decay")


@toy("optimizer")
class Momentum(Optimizer[MomentumConfig]):
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, self.config.lr, self.config.momentum)


def remembering(self: Any, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
    state = self.state[parameter]
    state["sum"] = state.get("sum", 0) * 0.5 + gradient
    return state["sum"]


def forgetful(self: Any, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
    sums = self.__dict__.setdefault("sums", {})
    sums[parameter] = sums.get(parameter, 0) * 0.5 + gradient
    return sums[parameter]


def counting(self: Any, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
    self.count = getattr(self, "count", 0) + 1
    return gradient / self.count


def unsaveable(self: Any, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
    self.state[parameter]["when"] = Path()
    return gradient


def drifting(self: Any, parameter: nn.Parameter, lr: float) -> None:
    gradient = parameter.grad if parameter.grad is not None else parameter
    parameter.sub_(lr * gradient)


def drifting_by_momentum(self: Any, parameter: nn.Parameter, lr: float) -> None:
    if parameter.grad is not None:
        self.state[parameter]["sum"] = parameter.grad.clone()
    parameter.sub_(lr * self.state[parameter]["sum"])


def all_or_nothing(self: Any, parameter: nn.Parameter, lr: float) -> None:
    if all(each.grad is not None for group in self.param_groups for each in group["params"]):
        parameter.sub_(lr * parameter.grad)


with_steps("Remembers", direction=remembering)
with_steps("Ascends", "descent", "100 steps change", direction=lambda self, parameter, gradient: -gradient)
with_steps("Climbs", "descent", "100 steps change", direction=lambda self, parameter, gradient: -gradient.sign())
with_steps("Explodes", "descent", "to nan", direction=lambda self, parameter, gradient: gradient * 1e4)
with_steps("FixedRate", "rate", "read it in each step", move=lambda self, p, lr: Steps.move(self, p, 0.01))
with_steps("LeastRate", "rate", "is 0", move=lambda self, p, lr: Steps.move(self, p, max(lr, 1e-3)))
with_steps("FirstRate", "rate", "is 0", move=lambda self, p, lr: Steps.move(self, p, self.defaults["lr"]))
with_steps("Drifts", "no gradient", "whose gradient is None", move=drifting)
with_steps("DriftsByMomentum", "no gradient", "whose gradient is None", move=drifting_by_momentum)
with_steps("AllOrNothing", "no gradient", "when another has none", move=all_or_nothing)
with_steps("Forgets", "resume", "takes other steps", direction=forgetful)
with_steps("CountsInPython", "resume", "takes other steps", direction=counting)
with_steps("CannotBeSaved", "resume", "cannot hold its state", direction=unsaveable)


@toy("optimizer", "build", "hold 1")
class HoldsOne(Optimizer):
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return Steps(list(parameters)[:1], self.config.lr)


@toy("optimizer", "build", "take self.config.lr")
class OwnRate(Optimizer):
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return Steps(parameters, 0.1)


@toy("optimizer", "build", "in place of a torch.optim.Optimizer")
class NoOptimizer(Optimizer):
    def build(self, parameters: Iterable[nn.Parameter]) -> Any:
        return list(parameters)


@toy("optimizer", "build", "the optimizer 'toys/Raises' cannot be made with its settings: KeyError")
class Raises(Optimizer):
    def build(self, parameters: Iterable[nn.Parameter]) -> Any:
        raise KeyError("momentum")


# --- schedules ------------------------------------------------------------------------------------------------------


def with_factor(name: str, caught: str, words: str, factor: Any) -> None:
    call = {"__call__": lambda self, step, steps: factor(step, steps)}
    globals()[name] = toy("schedule", caught, words)(type(name, (Schedule,), call))


class StairsConfig(ScheduleConfig):
    height: float = Field(0.5, description="of a stair")


@toy("schedule")
class Stairs(Schedule[StairsConfig]):
    def __call__(self, step: int, steps: int) -> float:
        return self.config.height ** (3 * step // steps)


with_factor("Infinite", "factors", "returns nan in step 0 of 1", lambda step, steps: float("nan"))
with_factor("Negative", "factors", "0 or more", lambda step, steps: 0.5 - step / steps)
with_factor("DividesByZero", "factors", "fails in step 0 of 1: ZeroDivisionError", lambda step, steps: 1 / (steps - 1))
with_factor("ATensor", "factors", "a factor is a number", lambda step, steps: torch.tensor(1.0))
with_factor("Random", "repeatable", "other factors", lambda step, steps: random.random())
with_factor("CountsCalls", "repeatable", "other factors", lambda step, steps, calls=count(1): 1 / next(calls))
with_factor("Zero", "positive", "in the first of 1 step", lambda step, steps: 0.0)
with_factor("Rises", "positive", "in the first of", lambda step, steps: step / steps)
with_factor("EndsEarly", "positive", "in most of", lambda step, steps: float(step < max(1, steps // 4)))


@toy("schedule", "repeatable", "other factors")
class Compounds(Schedule):
    """Multiplies the factor of the step before, as torch's schedulers do."""

    last = 1.0

    def __call__(self, step: int, steps: int) -> float:
        self.last *= 0.999
        return self.last


# --- augmentations --------------------------------------------------------------------------------------------------


class NoiseConfig(AugmentationConfig):
    scale: float = Field(0.1, description="standard deviation")


@toy("augmentation")
class Noise(Augmentation[NoiseConfig]):
    def __call__(self, x: Tensor) -> Tensor:
        return x + self.config.scale * torch.randn_like(x)


@toy("augmentation")
class Flip(Augmentation):
    def __call__(self, x: Tensor) -> Tensor:
        return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x, x.flip(3))


def with_change(name: str, caught: str, words: str, change: Any) -> None:
    call = {"__call__": lambda self, x: change(x)}
    globals()[name] = toy("augmentation", caught, words)(type(name, (Augmentation,), call))


def noise(x: Tensor) -> Tensor:
    return x + 0.1 * torch.randn_like(x)


generator = torch.Generator().manual_seed(0)
calls = count(1)


@toy("augmentation", "probability", "although the probability is 0")
class Always(Noise):
    def apply(self, x: Tensor, probability: float | Tensor) -> Tensor:
        return self(x)


@toy("augmentation", "probability", "although the probability is 0")
class Halves(Noise):
    def apply(self, x: Tensor, probability: float | Tensor) -> Tensor:
        return super().apply(x, probability / 2 + 0.5)


@toy("augmentation", "probability", "a tensor gives other images")
class NumbersAlone(Noise):
    def apply(self, x: Tensor, probability: float | Tensor) -> Tensor:
        return super().apply(x, probability if isinstance(probability, float) else 1.0)


with_change("Crops", "images", "for torch.float32 [8, 1, 8, 8]", lambda x: noise(x)[:, :, 1:])
with_change("Doubles", "images", "torch.float64", lambda x: noise(x).double())
with_change("Whitens", "images", "not finite", lambda x: noise(x) / 0)
with_change("Colored", "images", "fails|RuntimeError|IndexError", lambda x: noise(x) * x[:, [2]])
with_change("Whole", "input", "in place", lambda x: noise(x.data.round_() + x - x.data))
with_change("Positive", "input", "in place", lambda x: noise(x.data.abs_() + x - x.data))
with_change("Clamps", "input", "in place", lambda x: noise(x.data.clamp_(-0.5, 0.5) + x - x.data))
with_change("Detaches", "gradients", "no gradient passes", lambda x: noise(x.detach()))
with_change("Binary", "gradients", "always zero", lambda x: noise(x).sign())
with_change("Root", "gradients", "not finite", lambda x: noise(x) + (x - x.detach()).abs().sqrt())
with_change("Nothing", "random", "all alike", lambda x: x * 1.0)
with_change("AlwaysFlips", "random", "all alike", lambda x: x.flip(3))
with_change("OneShift", "random", "all alike", lambda x: x + 0.1 * torch.randn((), device=x.device))
with_change("OwnGenerator", "seed", "other images", lambda x: x + torch.randn(x.shape, generator=generator))
with_change("PythonsRandom", "seed", "other images", lambda x: noise(x) * (1 + random.random()))
with_change("Strengthens", "seed", "other images", lambda x: x + 0.01 * next(calls) * torch.randn_like(x))
with_change("Mixes", "each alone", "beside other images", lambda x: noise(0.9 * x + 0.1 * x.mean(0, keepdim=True)))
with_change("Centers", "each alone", "beside other images", lambda x: noise(x - x.mean(dim=0) / 2))
with_change("Swaps", "each alone", "beside other images", lambda x: noise(x.roll(1, 0)))


# --- trackers -------------------------------------------------------------------------------------------------------


@toy("tracker")
class Silent(Tracker):
    pass


@toy("tracker")
class Lines(Tracker):
    """Writes a file of its own."""

    def start(self, run: Path, config: Any, step: int) -> None:
        self.file = run / "lines.txt"

    def log(self, step: int, metrics: Any) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{step} {len(metrics)}\n")


def with_methods(name: str, caught: str, words: str, **methods: Any) -> None:
    globals()[name] = toy("tracker", caught, words)(type(name, (Lines,), methods))


def growing(self: Any, step: int, metrics: Any) -> None:
    self.names = getattr(self, "names", set(metrics))
    assert set(metrics) <= self.names, "a new figure"


def succeeds(self: Any, step: int, outcome: str) -> None:
    assert outcome != "failed", "a failure"


def once(self: Any, run: Path, config: Any, step: int) -> None:
    self.file = run / "lines.txt"
    self.file.touch(exist_ok=False)


def from_the_start(self: Any, run: Path, config: Any, step: int) -> None:
    Lines.start(self, run, config, step)
    if step:
        raise ValueError(f"{step} is not the first step")


def only_forwards(self: Any, step: int, metrics: Any) -> None:
    kept = self.file.with_name("last.txt")
    assert not kept.exists() or int(kept.read_text()) < step, "a step again"
    kept.write_text(str(step))


def averaged(self: Any, step: int, outcome: str) -> None:
    lines = self.file.read_text().splitlines()
    self.file.write_text(str(len(lines)))


def makes(file: str) -> Any:
    def made(self: Any, config: Any) -> None:
        Tracker.__init__(self, config)
        Path(file).write_text("begun")

    return made


def rewrites(name: str) -> Any:
    def finish(self: Any, step: int, outcome: str) -> None:
        if (path := self.file.with_name(name)).exists() and step:
            path.unlink()

    return finish


with_methods("NewFigures", "training", "a new figure", log=growing)
with_methods("OtherArguments", "training", "unexpected|positional", samples=lambda self, path: None)
with_methods("KnowsTwoEnds", "training", "KeyError", finish=lambda self, step, outcome: {"failed": 0}[outcome])
with_methods("Once", "resume", "FileExistsError", start=once)
with_methods("FromTheStart", "resume", "not the first step", start=from_the_start)
with_methods("OnlyForwards", "resume", "a step again", log=only_forwards)
with_methods("NeedsALine", "early end", "FileNotFoundError", finish=averaged)
with_methods(
    *("NeedsAGrid", "early end", "AttributeError"),
    samples=lambda self, step, path: setattr(self, "grid", path),
    finish=lambda self, step, outcome: self.grid.name,
)
with_methods("NoFailures", "early end", "a failure", finish=succeeds)
with_methods("TakesMetrics", "run folder", "metrics.jsonl", finish=rewrites("metrics.jsonl"))
with_methods("TakesTheCard", "run folder", "README.md", finish=rewrites("README.md"))
with_methods("TakesTheConfig", "run folder", "config.toml", finish=rewrites("config.toml"))
with_methods("WritesAtOnce", "build", "write in start()", __init__=makes("begun.txt"))
with_methods("WritesALog", "build", "write in start()", __init__=makes("tracker.log"))
with_methods("WritesAFolder", "build", "write in start()", __init__=lambda self, config: Path("tracker").mkdir())


@toy("tracker")
class NotInstalled(Tracker):
    def __init__(self, config: Any) -> None:
        raise UserError("the tracker needs a package")


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", TOYS, ids=lambda cls: cls.__name__)
def test_exactly_one_check_fails(cls: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kind, caught, words = TOYS[cls]
    entry = Entry(Spec(kind, cls.__name__, "A toy.", f"{__name__}:{cls.__name__}"), "toys", "1.0")
    results = list(run(CHECKS[kind](entry, ())))
    failed = {result.name: result.detail for result in results if result.outcome == "failed"}
    assert list(failed) == [caught] * bool(caught), results
    if caught:
        assert re.search(words if "|" in words else re.escape(words), failed[caught])


def test_three_toys_are_caught_by_every_check() -> None:
    for kind, checks in CHECKS.items():
        caught = [check for of, check, _ in TOYS.values() if of == kind]
        entry = Entry(Spec(kind, "Honest", "A toy.", f"{__name__}:Momentum"), "toys", "1.0")
        for check in checks(entry, ()):
            assert check.name == "capture" or caught.count(check.name) >= 3, check.name  # that one only remarks
