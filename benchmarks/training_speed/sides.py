"""Who takes turns: the textbook's loop, ganzoo with several settings, and other libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ganzoo import UserError
from ganzoo.training.process import fast_process
from training_speed.cases import CASES, Case, make_case
from training_speed.peers import LOSSES, PEERS

Steps = Callable[[int], object]
"""Trains so many generator steps further."""

OURS = {
    "ganzoo": {"precision": "fp32", "capture": "off"},
    "ganzoo bf16": {"precision": "bf16", "capture": "off"},
    "ganzoo captured": {"precision": "fp32", "capture": "on"},
    "ganzoo captured tf32": {"precision": "tf32", "capture": "on"},
    "ganzoo captured bf16": {"precision": "bf16", "capture": "on"},
}
"""Settings of training, by side; captured ones are for CUDA."""
NAMES = ("textbook", *PEERS, *OURS)


class NotUsable(Exception):
    """Why a side takes no part."""


@dataclass(frozen=True)
class Arena:
    """One case in one place; what each side is built from."""

    name: str
    device: str = "cpu"
    batch_size: int | None = None
    n_critic: int = 1

    def case(self, settings: Mapping[str, str]) -> Case:
        """Return the case with further settings of training."""
        sets = [f"{key}={value}" for key, value in settings.items()]
        return make_case(self.name, self.batch_size, self.n_critic, sets=sets, device=self.device)

    @property
    def period(self) -> int:
        """Steps after which the phases are the same again; a turn is a multiple of it."""
        return max(phase.every for phase in self.case(OURS["ganzoo"]).ours().phases)


@contextmanager
def opened(arena: Arena, side: str) -> Iterator[Steps]:
    """Begin a side, with the same weights as all others; raises :class:`NotUsable` with the reason why it cannot be."""
    if side == "textbook":
        case = arena.case(OURS["ganzoo"])
        textbook = case.textbook(case.ours(), case.loader())
        yield lambda count: [next(textbook) for _ in range(count)]
        return
    if side in PEERS:
        loop, case = CASES[arena.name].loop.__name__, arena.case(OURS["ganzoo"])
        setup = case.setup(case.ours(), case.loader())
        if loop not in LOSSES or setup.r1:
            raise NotUsable("has not this loss")
        try:
            step = PEERS[side](setup, loop == "train_wgan_gp")
        except ImportError as error:
            raise NotUsable(f"is not installed: {error}") from None
        yield lambda count: [step() for _ in range(count)]
        return
    if "captured" in side and arena.device == "cpu":
        raise NotUsable("is for CUDA")
    with fast_process():  # as in every training by `ganzoo train`
        try:
            loop = arena.case(OURS[side]).ours()
        except UserError as error:
            raise NotUsable(str(error)) from None

        def advance(count: int) -> None:
            for _ in range(count):
                loop.advance()
            loop.take_logs()  # as a training does every so often: reads what the steps have logged

        yield advance
