"""What is wrong with a loss is caught by the right check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field, field_serializer
from torch import Tensor
from torch.nn.functional import softplus
from toys import Toys

from ganzoo import Loss, LossConfig
from ganzoo.plugin.registry import Registry

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


@toy("loss")
class HonestLoss(Loss):
    """Everything as it should be; the others differ from it in one thing."""

    needs_real = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None
        return softplus(real - fake).mean()


# --- settings and build ---------------------------------------------------------------------------------------------


class BadDefault(LossConfig):
    margin: float = Field("wide", description="the margin", validate_default=True)  # type: ignore[assignment]


class NotItself(LossConfig):
    """Written and read, it is another."""

    margin: float = Field(1.0, description="the margin")

    @field_serializer("margin")
    def double(self, margin: float) -> float:
        return 2 * margin


class Strict(LossConfig):
    """It does not take what it writes."""

    margin: tuple[float, float] = Field((1.0, 2.0), description="the margins", strict=True)


@toy("loss", "settings")
class InvalidDefaults(HonestLoss):
    Config = BadDefault


@toy("loss", "settings")
class WritesAnother(HonestLoss):
    Config = NotItself


@toy("loss", "settings")
class ReadsNoList(HonestLoss):
    Config = Strict


@toy("loss", "build")
class UnknownRegularizerLoss(HonestLoss):
    regularizers: ClassVar[Mapping[str, Mapping[str, Any]]] = {"gradient_penalti": {}}


@toy("loss", "build")
class UnknownSettingLoss(HonestLoss):
    regularizers: ClassVar[Mapping[str, Mapping[str, Any]]] = {"gradient_penalty": {"wait": 1}}


@toy("loss", "build")
class NoCritic(HonestLoss):
    critic_steps = 0


# --- scores and gradients -------------------------------------------------------------------------------------------


@toy("loss", "scores")
class PerSampleLoss(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return -fake


@toy("loss", "scores")
class ColumnLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().discriminator(real[:, 0], fake[:, 0])


@toy("loss", "scores")
class NumberLoss(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return super().generator(fake, real).item()  # type: ignore[return-value]


@toy("loss", "gradients")
class IgnoresReal(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake).mean() + 0 * real.sum()


@toy("loss", "gradients")
class IgnoresFake(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + 0 * fake.sum()


@toy("loss", "gradients")
class DetachesMaps(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return super().generator(fake if fake.dim() == 1 else fake.detach(), real)


@toy("loss", "gradients", "adversarial")
class DetachedLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().discriminator(real, fake.detach())


# --- adversarial, batch mean, discriminator, large scores -----------------------------------------------------------


@toy("loss", "adversarial")
class FriendlyLoss(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return self.discriminator(real, fake)


@toy("loss", "adversarial")
class BackwardLoss(HonestLoss):
    """Both players' signs are wrong; the generator still works against the discriminator, which sees through it."""

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return fake.square().mean() * 0 + fake.mean()


@toy("loss", "adversarial")
class WrongGradient(HonestLoss):
    """Its value is right, and its gradient is that of something else."""

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        right = super().generator(fake, real)
        return 2 * right.detach() - right


@toy("loss", "batch mean")
class SumLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).sum()


@toy("loss", "batch mean")
class SumOfGenerator(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return super().generator(fake, real) * len(fake)


@toy("loss", "batch mean")
class RootLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).mean() * len(real) ** 0.5


class Checks(HonestLoss):
    """What it says of a discriminator that it does not take is no sentence for a user."""

    error: ClassVar[Exception]

    def check(self, discriminator: Any) -> None:
        raise self.error


for number, error in enumerate((KeyError("head"), TypeError("no head"), RuntimeError("no head"))):
    toy("loss", "discriminator")(type(f"Checks{number}", (Checks,), {"error": error, "__module__": __name__}))


@toy("loss", "large scores")
class OverflowingLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()


@toy("loss", "large scores")
class ExponentialLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return (1 + (4 * (fake - real)).exp()).log().mean()


@toy("loss", "large scores")
class OverflowingGenerator(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return -fake.sigmoid().pow(4).log().mean()


# --- state and devices ----------------------------------------------------------------------------------------------


class Keeps(HonestLoss):
    """It weighs its loss by what it keeps, a moving mean of the scores of real samples."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__(config)
        self.mean = torch.zeros(())

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().discriminator(real, fake) * (1 + self.mean.square())

    def after(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        self.mean = self.mean.to(real.device)
        self.mean.lerp_(real.mean(), 0.1)
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean.cpu().clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean = state["mean"].clone()


@toy("loss")
class KeepsHonestly(Keeps):
    """And saves it."""


@toy("loss", "state")
class SavesNothing(Keeps):
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@toy("loss", "state")
class TakesNothingBack(Keeps):
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@toy("loss", "state")
class SavesHalf(Keeps):
    """It keeps a number beside the mean."""

    calls = 0

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().discriminator(real, fake) / (1 + self.calls)

    def after(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return super().after(real, fake)


@toy("loss", "devices")
class StaysOnCPU(Keeps):
    def after(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        self.mean.lerp_(real.mean(), 0.1)
        return {}


@toy("loss", "devices")
class TargetsOnCPU(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real - torch.zeros(real.shape)).mean()


@toy("loss", "devices")
class DrawsFromOwnGenerator(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        noise = torch.rand(fake.shape, device=fake.device, generator=rng)
        return super().generator(fake + 0 * noise, real)


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    checks = ("settings", "build", "scores", "gradients", "adversarial", "batch mean", "discriminator", "large scores")
    toy.assert_three_for_each("loss", *checks, "state", "devices")


SENTENCES = {
    "StaysOnCPU": r"on a GPU it fails: a tensor \[\] is on the CPU wherever the others are",
    "DrawsFromOwnGenerator": "on a GPU it fails: it draws from a generator on the CPU into a tensor on the device",
    "IgnoresReal": "the discriminator's loss has no finite gradient at the scores of real samples",
}


@pytest.mark.parametrize("key", SENTENCES)
def test_the_sentence_says_what_is_wrong(toys: Registry, key: str) -> None:
    toy.assert_said(toys, key, SENTENCES[key])
