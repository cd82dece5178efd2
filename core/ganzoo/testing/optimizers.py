"""Checks of optimizers and of schedules of the learning rate."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from math import isfinite
from typing import cast

import torch
from torch import Tensor, nn, optim

from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import Batch, DataSpec, TensorDataset
from ganzoo.fields import Points, Scores, Signature
from ganzoo.gan.networks import Discriminator
from ganzoo.gan.optimizers import OptimizerConfig
from ganzoo.gan.schedules import Schedule
from ganzoo.gan.trainer import Phase, Trainer, TrainerConfig
from ganzoo.plugin.registry import Entry
from ganzoo.runs import checkpoint
from ganzoo.runs.state_checks import conformed_optimizer, state_after_a_step
from ganzoo.testing.general import build_settings
from ganzoo.testing.results import Check, Fault
from ganzoo.training.capture import Tapes
from ganzoo.training.loop import Loop
from ganzoo.training.rates import portable
from ganzoo_runtime.text import counted

__all__ = ["optimizer_checks", "schedule_checks"]

RATE = 0.01
"""The learning rate that optimizers are checked with."""

LENGTHS = (1, 2, 7, 1000)
"""Steps of the trainings that schedules are checked for."""


def optimizer_checks(entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of an optimizer."""

    @cache
    def settings() -> OptimizerConfig:
        return cast(OptimizerConfig, build_settings(entry, sets))

    yield Check("build", lambda: holds(settings()), vital=True)
    yield Check("descent", lambda: descends(settings()))
    yield Check("rate", lambda: follows_its_rate(settings()))
    yield Check("no gradient", lambda: leaves_what_has_no_gradient(settings()))
    yield Check("resume", lambda: resumes(settings()))
    yield Check("capture", lambda: captured(settings()))


class _Bowl:
    """Weights whose best value is 1, and an optimizer of them."""

    def __init__(self, settings: OptimizerConfig) -> None:
        torch.manual_seed(0)
        self.weights = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.zeros(3))]
        self.optimizer = settings.build(self.weights, lr=RATE)

    def value(self) -> Tensor:
        """Return the mean squared distance to the best value."""
        return torch.stack([(weight - 1).square().mean() for weight in self.weights]).mean()

    def step(self, times: int = 1) -> None:
        """Take steps as a training does."""
        for _ in range(times):
            self.value().backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def copies(self) -> list[Tensor]:
        """Return the weights as they are now."""
        return [weight.detach().clone() for weight in self.weights]


def _same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return all(map(torch.equal, first, second))


def holds(settings: OptimizerConfig) -> None:
    """The optimizer is made, holds the parameters that it was given, and has the learning rate that was asked for."""
    bowl = _Bowl(settings)
    groups = bowl.optimizer.param_groups
    held = [id(parameter) for group in groups for parameter in group["params"]]
    if sorted(held) != sorted(map(id, bowl.weights)):
        raise Fault(f"given {counted(len(bowl.weights), 'parameter')}, its param_groups hold {len(held)}, or others")
    for group in groups:
        if float(group["lr"]) != RATE:
            raise Fault(f"with a learning rate of {RATE}, group['lr'] is {group['lr']}; take self.config.lr")


def descends(settings: OptimizerConfig) -> None:
    """A hundred steps bring weights nearer to where their loss is least."""
    bowl = _Bowl(settings)
    before = bowl.value().item()
    bowl.step(100)
    after = bowl.value().item()
    if not isfinite(after) or after >= before:
        raise Fault(f"100 steps change a squared error from {before:.3g} to {after:.3g}")


def follows_its_rate(settings: OptimizerConfig) -> None:
    """With a learning rate of 0 in its groups, a step changes nothing: schedules and warm-up set it there."""
    bowl = _Bowl(settings)
    bowl.step(3)
    for group in bowl.optimizer.param_groups:
        group["lr"] = 0.0
    before = bowl.copies()
    bowl.step(2)
    if not _same(before, bowl.copies()):
        raise Fault("it moves weights though group['lr'] is 0, so that no schedule has an effect; read it in each step")


def leaves_what_has_no_gradient(settings: OptimizerConfig) -> None:
    """A parameter without a gradient stays as it is, as do those of another phase that shares the optimizer."""
    bowl = _Bowl(settings)
    bowl.step(3)
    before = bowl.copies()
    (bowl.weights[0] - 1).square().mean().backward()
    bowl.optimizer.step()
    first, second = map(torch.equal, before, bowl.copies())
    if not second:
        raise Fault("it moves a parameter whose gradient is None")
    if first:
        raise Fault("it leaves a parameter that has a gradient, when another has none")


def resumes(settings: OptimizerConfig) -> None:
    """Saved in a checkpoint and loaded by a new optimizer, its state gives the same steps to the last bit."""
    whole, stopped, resumed = _Bowl(settings), _Bowl(settings), _Bowl(settings)
    whole.step(6)
    stopped.step(3)
    file = io.BytesIO()
    torch.save(portable(stopped.optimizer.state_dict()), file)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(file, weights_only=True)
        form = portable(state_after_a_step(resumed.optimizer))
        state = conformed_optimizer(state, form, "state_dict()")
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise Fault(f"a checkpoint cannot hold its state, which is tensors and numbers: {lines[0][:200]}") from error
    for weight, kept in zip(resumed.weights, stopped.copies(), strict=True):
        weight.data.copy_(kept)
    resumed.optimizer.load_state_dict(state)
    resumed.step(3)
    if not _same(whole.copies(), resumed.copies()):
        raise Fault("resumed, it takes other steps; keep in 'state' and 'param_groups' whatever lasts between them")


class _Line(Discriminator):
    """Points [N, 2] to one score each."""

    def __init__(self) -> None:
        super().__init__(Signature((Points(2),), Scores()))
        self.body = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.body(x).squeeze(1))


class _Fit(Trainer[TrainerConfig]):
    """Fits a line, with any optimizer."""

    averaged = ("net",)

    def __init__(self, data: DataSpec, settings: OptimizerConfig) -> None:
        super().__init__(TrainerConfig(), data, None, {})
        self.networks = {"net": _Line()}
        self.optimizers: dict[str, optim.Optimizer] = {"net": settings.build(self.networks["net"].parameters())}

    def phases(self) -> Sequence[Phase]:
        return [Phase("net", self.error, updates=("net",))]

    def error(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": (self.networks["net"](batch["x"]) - batch["x"].sum(dim=1)).square().mean()}


def captured(settings: OptimizerConfig) -> str:
    """Says whether phases with this optimizer would not be captured as CUDA graphs; they are slower, not wrong."""
    checkpoint.seed_random(0)
    points = TensorDataset(DataSpec("random", (Points(2),), 64), {"x": torch.randn(64, 2)})
    loop = Loop(_Fit(points.spec, settings), points, TrainSettings(batch_size=8, steps=10), Tapes)
    for _ in range(3):
        loop.advance()
    assert loop.captures is not None
    return "; ".join(f"{name} would run without a CUDA graph: it {why}" for name, why in loop.captures.refused.items())


def schedule_checks(entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a schedule."""

    def build() -> Schedule:
        return cast(Schedule, build_settings(entry, sets).make())  # type: ignore[attr-defined]

    yield Check("factors", lambda: numbers(build()), vital=True)
    yield Check("repeatable", lambda: repeats(build(), build()))
    yield Check("positive", lambda: positive(build()))


def numbers(schedule: Schedule) -> None:
    """In every step of trainings of any length the factor is a finite number of 0 or more."""
    for steps in LENGTHS:
        for step in range(steps):
            schedule.factor(step, steps)


def repeats(schedule: Schedule, other: Schedule) -> None:
    """The factor is a function of the step and the number of steps: asked backwards, and anew, it is the same."""
    for steps in LENGTHS:
        forwards = [schedule.factor(step, steps) for step in range(steps)]
        for made in (schedule, other):
            backwards = [made.factor(step, steps) for step in reversed(range(steps))]
            if backwards[::-1] != forwards:
                raise Fault("asked again, it returns other factors, so that a resumed training would differ")


def positive(schedule: Schedule) -> None:
    """Something is learned: the factor is above 0 for half of the steps of every training, and in its first one."""
    for steps in LENGTHS:
        factors = [schedule.factor(step, steps) for step in range(steps)]
        if not factors[0]:
            raise Fault(f"in the first of {counted(steps, 'step')} its factor is 0; lr_warmup is what lets rates rise")
        if sum(factor > 0 for factor in factors) < steps / 2:
            raise Fault(f"its factor is 0 in most of {steps} steps, in which nothing is learned")
