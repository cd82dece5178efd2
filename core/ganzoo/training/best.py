"""Which checkpoint is the best by a figure, and whether a training has stopped getting better."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf, isfinite

from ganzoo.config.config import Config
from ganzoo.config.train_settings import TrainSettings
from ganzoo.errors import UserError
from ganzoo.gan.metrics import Metric
from ganzoo.runs import checkpoint
from ganzoo.runs.run import Run
from ganzoo_runtime.text import counted

__all__ = ["BETTER", "LOWER", "PLATEAU", "Best", "behind", "refuse_unknown"]

BETTER, LOWER, PLATEAU = 1, 2, 3
"""What an evaluation can say: it is the best so far; without being so, it lowers the learning rates, or is the last."""


_bar: ContextVar[Mapping[int, float]] = ContextVar("bar")


@contextmanager
def behind(bar: Mapping[int, float]) -> Iterator[None]:
    """While entered, a training ends at an evaluation after which its best figure is worse than that of the same step.

    ``bar`` has figures of ``keep_best`` by steps.
    """
    token = _bar.set(bar)
    try:
        yield
    finally:
        _bar.reset(token)


class Best:
    """The best evaluation so far by the figure that ``keep_best`` names, and how many there were since.

    Nothing of it is saved: it follows from the lines of metrics.jsonl and from which checkpoints there are, so that a
    resumed training decides as one that was never interrupted.
    """

    def __init__(
        self,
        run: Run,
        settings: TrainSettings,
        metrics: Mapping[str, Metric],
        step: int,
    ) -> None:
        self.asked, self.patience = settings.keep_best or "", settings.stop_after
        self.lowers = settings.lr_plateau
        self._bar, self._steps = _bar.get({}), settings.steps
        self.behind = False
        """Whether the last evaluation ends the training, since the best figure so far is worse than the bar."""
        self._metrics = metrics
        self.step: int | None = None
        self.value, self.since, self.name = inf, 0, self.asked
        rows = [row for row in run.metrics() if row["step"] <= step] if self.asked and metrics else []
        if names := {name for row in rows for name in row if name.partition("/")[0] in metrics}:
            self.check(names)
        kept = checkpoint.steps(run.checkpoints)
        for row in rows:
            if row["step"] in kept:
                self.judge(int(row["step"]), row)
            elif self.step is not None and self._find(row) is not None:
                self.since += 1  # where the setting is new, a better one may be gone

    def judge(self, step: int, figures: Mapping[str, float]) -> int:
        """Take note of the figures after a step; return ``BETTER``, ``LOWER``, ``PLATEAU``, or 0."""
        name = self._find(figures)
        if name is None:
            return 0
        # A figure that is not finite is an evaluation without an improvement.
        sign = 1 if self._direction(name) == "lower" else -1
        better = isfinite(figures[name]) and (self.step is None or sign * figures[name] < sign * self.value)
        if better:
            self.step, self.value, self.since, self.name = step, figures[name], 0, name
        else:
            self.since += 1
        reached = inf if self.step is None else sign * self.value
        self.behind = step < self._steps and step in self._bar and reached > sign * self._bar[step]
        lower = self.lowers is not None and self.since % self.lowers == 0
        return PLATEAU if self.ended else BETTER if better else LOWER if lower else 0

    def check(self, names: Iterable[str]) -> None:
        """Raise :class:`UserError` if none of the figures that are computed is the one that ``keep_best`` names."""
        names = list(names)
        if self.asked and self._find(names) is None:
            known = sorted(each for each in names if each.partition("/")[0] in self._metrics and self._directed(each))
            raise UserError(f"keep_best={self.asked!r} is none of the figures: {', '.join(known) or 'there are none'}")

    @property
    def ended(self) -> bool:
        """Whether the training is over: ``stop_after`` evaluations without an improvement, or behind the bar."""
        return self.behind or (self.patience is not None and self.since >= self.patience)

    @property
    def waited(self) -> str:
        """``"1 evaluation without a better fid/inception"``: why rates fall, or a training ends."""
        return f"{counted(self.since, 'evaluation')} without a better {self.name}"

    def __str__(self) -> str:
        """Return ``"step 1,500, fid/inception 7.213"``, or nothing if there is none."""
        return "" if self.step is None else f"step {self.step:,}, {self.name} {self.value:.4g}"

    def _find(self, names: Iterable[str]) -> str | None:
        """Return the first figure that is meant: by its full name, by that of its metric, or by both ends of it."""
        metric, _, figure = self.asked.partition("/")
        ours = [each for each in names if each.startswith(f"{metric}/") and self._directed(each)]
        same = [each for each in ours if each == self.asked]
        return next(iter(same or [each for each in ours if not figure or each.endswith(f"/{figure}")]), None)

    def _direction(self, name: str) -> str | None:
        metric = self._metrics.get(name.partition("/")[0])
        return metric.direction(name) if metric is not None else None

    def _directed(self, name: str) -> bool:
        return self._direction(name) in ("higher", "lower")


def refuse_unknown(config: Config) -> None:
    """Raise :class:`UserError` for a ``keep_best`` that names no metric of the training, or one without a direction."""
    asked = config.train.keep_best
    if asked is None:
        for setting in ("stop_after", "lr_plateau"):
            if getattr(config.train, setting) is not None:
                raise UserError(f"{setting} counts evaluations by the figure that keep_best names; set keep_best too")
        return
    metric, _, figure = asked.partition("/")
    if metric not in config.metrics:
        there = ", ".join(config.metrics) or "none"
        raise UserError(
            f"keep_best={asked!r} names a metric that this training does not compute (there is: {there}); "
            f"add it with --set metric.{metric}.samples=2500, or name another"
        )
    cls = config.metrics[metric].entry.spec.load()
    known = [cls.direction(asked)] if figure else list(cls.better.values())
    if not {"higher", "lower"} & set(known):
        raise UserError(f"keep_best={asked!r} has no direction in which it gets better; name another figure")
