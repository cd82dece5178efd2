"""What is wrong with the training of a model is caught by the right check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from toys import HonestModel, Judge, Painter, Toys, model_of

from ganzoo import Batch, Network, Phase
from ganzoo.plugin.registry import Registry

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


def with_networks(name: str, *caught: str, **networks: type[Network]) -> None:
    toy("model", *caught)(model_of(__name__, name, **networks))


def data_and_loss(loss: str) -> Mapping[str, Any]:
    return {"data": {"name": "digits"}, "loss": {"name": loss}}


@toy("model")
class Critic(HonestModel):
    """Honest: the last bias of its discriminator shifts all scores, and the loss does not see that."""

    defaults: ClassVar[Mapping[str, Any]] = data_and_loss("wgan")


@toy("model")
class WithinTheMargin(HonestModel):
    """Honest: nor does this loss, until the first score leaves the margin."""

    defaults: ClassVar[Mapping[str, Any]] = data_and_loss("hinge")


# --- training -------------------------------------------------------------------------------------------------------


class Endless(HonestModel):
    """The loss is no number, and its gradient is."""

    more = float("inf")

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().generator_loss(batch)
        return {**losses, "loss": losses["loss"] + self.more}


@toy("model", "training")
class InfiniteLoss(Endless):
    """Above all numbers."""


@toy("model", "training")
class NoNumber(Endless):
    """Not even infinite."""

    more = float("nan")


@toy("model", "training")
class FailsLater(HonestModel):
    """In a phase that runs for the second time after all that other checks look at."""

    calls = 0

    def phases(self) -> Sequence[Phase]:
        return [*super().phases(), Phase("rare", self.rare, ("generator",), "generator", every=5)]

    def rare(self, batch: Batch) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("not again")
        return super().generator_loss(batch)


class Infinite(Judge):
    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        return scores + 0 * (scores - scores.detach()).abs().sqrt()  # the square root's slope at 0


@toy("model", "signature", "training")
class InfiniteGradient(HonestModel):
    """Its second step is nonsense, since its first had no finite gradient."""

    defaults: ClassVar[Mapping[str, Any]] = data_and_loss("wgan")
    judge = Infinite


# --- gradients and learning -----------------------------------------------------------------------------------------


class DeadWeight(Painter):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.unused = nn.Linear(4, 8)


class Muted(DeadWeight):
    """Its weight has a gradient, which is always zero."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + 0 * self.unused(z).sum())


class ByHand(HonestModel):
    """A weight that has no gradient and is moved all the same."""

    def phases(self) -> Sequence[Phase]:
        *others, last = super().phases()
        return [*others, replace(last, after=self.move)]

    @torch.no_grad()
    def move(self) -> None:
        self.generator.gain.mul_(0.99)


class Gain(Painter):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.gain = nn.Parameter(torch.ones(4))


class Detached(Gain):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z * self.gain.detach())


class Unseen(Gain):
    def forward(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            z = z * self.gain
        return super().forward(z)


for name, painter in {"UnusedGain": Gain, "DetachedGain": Detached, "GainWithoutGraph": Unseen}.items():
    toy("model", "gradients")(type(name, (ByHand,), {"painter": painter, "__module__": __name__}))


class DeadReLU(Painter):
    """With every seed, or, as it may happen, with the first one."""

    unlucky: ClassVar[tuple[int, ...]] = tuple(range(100))

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        if torch.initial_seed() in self.unlucky:
            nn.init.constant_(self.body[0].bias, -100)


class UnluckyReLU(DeadReLU):
    unlucky = (0,)


class MutedScalar(Judge):
    """Its offset has no effect, though it is as small as one that shifts all scores."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * self.offset


with_networks("DeadParameter", "gradients", "learning", painter=DeadWeight)
with_networks("MutedParameter", "learning", painter=Muted)
with_networks("DeadWithEverySeed", "learning", painter=DeadReLU)
with_networks("DeadWithOneSeed", painter=UnluckyReLU)


@toy("model", "learning")
class MutedOffset(Critic):
    judge = MutedScalar


@toy("model", "learning")
class StiffBias(HonestModel):
    """The optimizer holds the last bias, and moves it by nothing."""

    defaults: ClassVar[Mapping[str, Any]] = data_and_loss("non_saturating")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        *weights, bias = self.discriminator.parameters()
        groups = [{"params": weights}, {"params": [bias], "lr": 0.0}]
        self.optimizers["discriminator"] = torch.optim.Adam(groups, 1e-3, (0.5, 0.999))


# --- ownership and steps --------------------------------------------------------------------------------------------


@toy("model", "ownership")
class TouchesTheOther(HonestModel):
    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            self.discriminator.body[1].weight.mul_(0.999)
        return super().generator_loss(batch)


@toy("model", "ownership")
class ProjectsTheOther(HonestModel):
    def phases(self) -> Sequence[Phase]:
        *others, last = super().phases()
        return [*others, replace(last, after=lambda: self.discriminator.body[1].weight.data.mul_(0.999))]


@toy("model", "ownership")
class UpdatesNothing(HonestModel):
    """A phase that says it updates both, and minimizes what depends on one of them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        both = [*self.generator.parameters(), *self.discriminator.parameters()]
        self.optimizers["both"] = torch.optim.SGD(both, lr=0.01)

    def phases(self) -> Sequence[Phase]:
        def loss(batch: Batch) -> dict[str, Tensor]:
            return {"loss": self.generator(torch.randn(8, 4, device=batch["x"].device)).square().mean()}

        return [*super().phases(), Phase("both", loss, ("generator", "discriminator"))]


@toy("model", "steps")
class StepsByItself(HonestModel):
    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        self.optimizers["discriminator"].step()
        return super().generator_loss(batch)


@toy("model", "steps")
class StepsAfterwards(HonestModel):
    def phases(self) -> Sequence[Phase]:
        *others, last = super().phases()
        return [*others, replace(last, after=lambda: self.optimizers["generator"].step())]


@toy("model", "steps")
class StepsBefore(HonestModel):
    def prepare(self, batch: Batch) -> Batch:
        self.optimizers["generator"].step()
        return super().prepare(batch)


# --- n_critic and intervals -----------------------------------------------------------------------------------------


@toy("model", "n_critic")
class IgnoresNCritic(HonestModel):
    n_critic = 1


@toy("model", "n_critic")
class RepeatsEverything(HonestModel):
    def phases(self) -> Sequence[Phase]:
        return [replace(phase, repeat=self.n_critic) for phase in super().phases()]


@toy("model", "n_critic")
class OneTooMany(HonestModel):
    def phases(self) -> Sequence[Phase]:
        first, *others = super().phases()
        return [replace(first, repeat=self.n_critic + 1), *others]


@toy("model", "intervals")
class IgnoresRegularizers(HonestModel):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.objective.penalties = {}


@toy("model", "intervals")
class IgnoresIntervals(HonestModel):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for penalty in self.objective.penalties.values():
            penalty.config = penalty.config.model_copy(update={"interval": 1})


@toy("model", "intervals")
class LeavesOutLazyPhases(HonestModel):
    def phases(self) -> Sequence[Phase]:
        return [phase for phase in super().phases() if phase.every == 1]


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    toy.assert_three_for_each(
        "model", "training", "gradients", "learning", "ownership", "steps", "n_critic", "intervals"
    )


SENTENCES = {
    "InfiniteLoss": "generator/loss is inf within the first 4 steps",
    "FailsLater": r"RuntimeError: not again \(test_checks_of_training.py, line",
    "InfiniteGradient": "the gradient of discriminator.body.1.weight in phase 'discriminator' is not finite",
    "DeadParameter": "generator.unused.weight and 1 more gets no gradient in 4 steps",
    "TouchesTheOther": "the phase 'generator' changes discriminator.body.1.weight, and it updates 'generator'",
    "UpdatesNothing": "the phase 'both' says that it updates 'discriminator', and leaves it as it was",
    "StepsBefore": "an optimizer steps outside of any phase",
    "IgnoresNCritic": "with n_critic=3 no phase takes three times the optimizer steps",
    "LeavesOutLazyPhases": "is applied .* times, and 0 times with an interval of 2",
}


@pytest.mark.parametrize("key", SENTENCES)
def test_the_sentence_says_what_is_wrong(toys: Registry, key: str) -> None:
    toy.assert_said(toys, key, SENTENCES[key])
