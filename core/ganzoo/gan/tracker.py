"""The interface of trackers, which show what a training logs elsewhere: TensorBoard, a server, a file."""

from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from ganzoo.configured import Configured

__all__ = ["Outcome", "Tracker", "TrackerConfig"]

Outcome = Literal["done", "interrupted", "failed"]
"""How a training ended."""


class TrackerConfig(BaseModel):
    """Base of the settings of a tracker."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=TrackerConfig, default=TrackerConfig, covariant=True)


class Tracker(Configured[Settings], ABC):
    """Follows one training and shows what it logs elsewhere.

    The constructor raises :class:`~ganzoo.UserError` for what is not installed, before there is a run folder, and does
    nothing else: a dry run makes trackers too. What a method raises is reported once, and the tracker is told nothing
    more; the training goes on. Random numbers that it draws do not change the training.

    A ``default`` one follows every training, unless it is left out by ``--without NAME``.
    """

    default: ClassVar[bool] = False

    def start(self, run: Path, config: Mapping[str, Any], step: int) -> None:
        """Begin, or go on after the step: what was told of later steps will be told again.

        ``run`` is the run folder, ``config`` what its config.toml says of the training.
        """
        return

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show a line of metrics.jsonl: the means since the line before, and metrics when they are due."""
        return

    def samples(self, step: int, path: Path) -> None:
        """Show a grid of samples, a .png file."""
        return

    def finish(self, step: int, outcome: Outcome) -> None:
        """End, after this step."""
        return
