"""Lower learning rates: where a metric stays on a plateau, and where a training that diverged goes back.

What they are multiplied by, ``lr_scale``, and how many ``rewinds`` there were, are figures of metrics.jsonl, so that a
resumed training goes on with them, and one that goes back to an older checkpoint forgets those that came later.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from ganzoo.config.train_settings import TrainSettings
from ganzoo.errors import TrainingError
from ganzoo.runs.run import Run
from ganzoo.training.engine import Engine
from ganzoo.training.loop import Loop

__all__ = ["Diverged", "lower_rates", "rewind", "take_scale"]

log = logging.getLogger("ganzoo")

_SCALE, _REWINDS = "lr_scale", "rewinds"


class Diverged(TrainingError):
    """A loss or a network, ``what``, is not finite after ``step``; ``kept`` is the last checkpoint before it."""

    def __init__(self, sentence: str, what: str, step: int, kept: Path | None) -> None:
        super().__init__(sentence)
        self.what, self.step, self.kept = what, step, kept


def take_scale(loop: Loop, run: Run) -> None:
    """Let the learning rates be as low as they were after this step, in all processes as the first one knows it."""
    scale = torch.tensor([_logged(run, loop.step)[0] if loop.engine.writes else 1.0], dtype=torch.float64)
    loop.engine.broadcast([scale])
    loop.lr_scale = scale.item()


def lower_rates(loop: Loop, run: Run, why: str) -> dict[str, float]:
    """Lower the learning rates from the next step on; return the figure for the log."""
    loop.lr_scale *= loop.settings.lr_drop
    if loop.engine.writes:
        _say(run, "rate", loop.step, why, loop.settings, loop.lr_scale)
    return {_SCALE: loop.lr_scale}


def rewind(error: Diverged, settings: TrainSettings, run: Run, engine: Engine) -> bool:
    """Return whether a training that diverged is to go on from its last checkpoint; note then that it does, slower."""
    if not settings.rewind or error.kept is None:
        return False
    step, scale, count = int(error.kept.name.removeprefix("step-")), 1.0, settings.rewind
    if engine.writes:
        scale, count = _logged(run, step)
    if not engine.largest(count < settings.rewind):
        return False
    if engine.writes:
        scale *= settings.lr_drop
        run.forget_after(step, later=run.waits)
        run.log(step, {_SCALE: scale, _REWINDS: count + 1})
        back = f"back to the checkpoint of step {step:,} (rewind {count + 1} of {settings.rewind})"
        _say(run, "rewind", error.step, f"{error.what} is no longer finite: {back}", settings, scale)
    return True


def _logged(run: Run, step: int) -> tuple[float, int]:
    """Return the last figures up to a step."""
    scale, rewinds = 1.0, 0.0
    for row in run.metrics():
        if row["step"] <= step:
            scale, rewinds = row.get(_SCALE, scale), row.get(_REWINDS, rewinds)
    fits = 0 < scale <= 1 and 0 <= rewinds < 1e6  # the file may be anybody's
    return (scale, int(rewinds)) if fits else (1.0, 0)


def _say(run: Run, kind: str, step: int, why: str, settings: TrainSettings, scale: float) -> None:
    text = f"{why}; learning rates times {settings.lr_drop:g}, which makes {scale:.4g} of the schedule's"
    log.warning("step %s: %s", f"{step:,}", text)
    run.note(step, kind, text)
