"""What is wrong with a regularizer is caught by the right check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from toys import Toys

from ganzoo import Regularizer, RegularizerConfig, Score
from ganzoo.plugin.registry import Registry

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


@toy("regularizer")
class HonestRegularizer(Regularizer):
    """Its gradient is the discriminator's at real samples (R1)."""

    dims: ClassVar[tuple[int, ...]] = (2, 4)
    """The samples that it is broken for: points, images."""

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.r1(score, real)

    def r1(self, score: Score, real: Tensor, graph: bool = True) -> Tensor:
        real = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(real).sum(), real, create_graph=graph)
        return gradient.square().flatten(1).sum(1).mean()


class NoGraph(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.r1(score, real, graph=real.dim() not in self.dims)


class LeavesGradients(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        if real.dim() in self.dims:
            score(real).sum().backward()
        return self.r1(score, real)


class Idle(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        return None if real.dim() in self.dims else self.r1(score, real)


class ChangesSamples(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        if real.dim() in self.dims:
            real.add_(0.1)
        return self.r1(score, real)


for broken in (NoGraph, LeavesGradients, Idle, ChangesSamples):
    for kind, dims in {"images": (4,), "points": (2,)}.items():
        name = f"{broken.__name__}For{kind.title()}"
        toy("regularizer", kind)(type(name, (broken,), {"dims": dims, "__module__": __name__}))


@toy("regularizer", "images", "points", "state", "devices")
class ReturnsNumber(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Any:
        return 0.5


class Undescribed(RegularizerConfig):
    center: float = 0.0


@toy("regularizer", "schema")
class UndescribedRegularizer(HonestRegularizer):
    Config = Undescribed


class Fails(HonestRegularizer):
    """It cannot be made."""

    def __init__(self, config: RegularizerConfig) -> None:
        super().__init__(config)
        raise type(self).error

    error: ClassVar[Exception]


for number, error in enumerate((KeyError("center"), AttributeError("no center"), ZeroDivisionError())):
    toy("regularizer", "build")(type(f"Fails{number}", (Fails,), {"error": error, "__module__": __name__}))


class Grows(HonestRegularizer):
    """Its penalty is more from time to time."""

    calls = 0

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        self.calls += 1
        return self.r1(score, real) * self.calls


@toy("regularizer", "state")
class ForgetsItsCalls(Grows):
    """And saves nothing."""


@toy("regularizer", "state")
class TakesNoCallsBack(Grows):
    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@toy("regularizer", "state")
class SavesAnotherNumber(TakesNoCallsBack):
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.calls = state["calls"] + 1


@toy("regularizer", "devices")
class MixesOnCPU(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        share = torch.rand(len(real), *[1] * (real.dim() - 1))
        return self.r1(score, share * real + (1 - share) * fake)


@toy("regularizer", "devices")
class WeighsOnCPU(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.r1(score, real) + 0 * (torch.ones(len(real)) * score(real).flatten()).sum()


@toy("regularizer", "devices")
class ProjectsOnCPU(HonestRegularizer):
    def project(self, discriminator: Any) -> None:
        for weight in discriminator.parameters():
            weight.data.add_(torch.zeros(weight.shape))


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    toy.assert_three_for_each("regularizer", "build", "images", "points", "state", "devices")
