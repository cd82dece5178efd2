"""What is wrong with the settings of a model, with how it is built and with what it keeps, is caught."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from toys import HonestModel, Painter, Toys, model_of

from ganzoo import AdversarialConfig, AdversarialTrainer, Batch, Generator, Network, Phase, TrainerConfig
from ganzoo.plugin.registry import Registry

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


def with_networks(name: str, *caught: str, **networks: type[Network]) -> None:
    toy("model", *caught)(model_of(__name__, name, **networks))


# --- class, schema, config and presets ------------------------------------------------------------------------------


@toy("model", "class")
class NoModel:
    """A subclass of nothing."""


@toy("model", "class")
class Abstract(AdversarialTrainer):
    """It implements nothing."""


@toy("model", "class")
def function() -> None:
    """No class at all."""


class Undescribed(AdversarialConfig):
    width: int = 3


class Loose(AdversarialConfig):
    model_config = ConfigDict(extra="ignore", frozen=True)


class InnerLoose(BaseModel):
    a: int = Field(1, description="a setting")


class Nested(AdversarialConfig):
    inner: InnerLoose = Field(InnerLoose(), description="settings")


class Impatient(AdversarialConfig):
    n_critic: int | None = Field(5, description="discriminator steps a generator step")


def with_config(name: str, caught: str, config: type[TrainerConfig] = AdversarialConfig, **more: Any) -> None:
    body = {"Config": config, "__module__": __name__} | more
    toy("model", caught)(type(name, (HonestModel,), body))


DATA = {"data": {"name": "digits"}}
with_config("NoDescription", "schema", Undescribed)
with_config("TakesAnything", "schema", Loose)
with_config("TakesAnythingInside", "schema", Nested)
with_config("BadDefaults", "config", defaults={"model": {"n_critics": 1}, "data": {"name": "gaussians"}})
with_config("UnknownLoss", "config", defaults={**DATA, "loss": {"name": "wgan_gpp"}})
with_config("BadAverage", "config", defaults={**DATA, "loss": {"name": "wgan"}, "ema": "much"})
with_config("NoRoundTrip", "presets", Impatient, presets={"patient": {"model": {"n_critic": None}}})
with_config("BadPreset", "presets", presets={"big": {"model": {"width": 1}}})
with_config("PresetWithoutLoss", "presets", presets={"other": {"loss": {"name": "no_such_loss"}}})


# --- build ----------------------------------------------------------------------------------------------------------


@toy("model", "build")
class ClaimsTooMuch(HonestModel):
    """A phase says that it updates the discriminator too, whose weights its optimizer does not have."""

    def phases(self) -> Sequence[Phase]:
        *others, last = super().phases()
        return [*others, replace(last, updates=("generator", "discriminator"))]


@toy("model", "build")
class WeightWithoutOptimizer(HonestModel):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.optimizers["generator"] = torch.optim.SGD(self.generator.body[0].parameters(), lr=0.1)


@toy("model", "build")
class ExportsNothing(HonestModel):
    def exports(self, networks: Any) -> Any:
        return {}


# --- average --------------------------------------------------------------------------------------------------------


@toy("model", "average", "run folder")
class ExportsLastStep(HonestModel):
    def exports(self, networks: Any) -> Any:
        return super().exports(self.networks)


@toy("model", "average")
class AveragesNothing(HonestModel):
    defaults: ClassVar[Mapping[str, Any]] = {**HonestModel.defaults, "ema": 0.0}


class Shifted(Generator):
    def __init__(self, inner: Any) -> None:
        super().__init__(inner.signature)
        self.inner, self.shift = inner, nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        return self.inner(z) + self.shift


@toy("model", "average")
class ExportsMore(HonestModel):
    """It has a weight that is no part of the training."""

    def exports(self, networks: Any) -> Any:
        return {"generator": Shifted(networks["generator"])}


class Framed(Shifted):
    """The same for each pixel."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.shift = nn.Parameter(torch.zeros(inner.signature.output.shape))


@toy("model", "average")
class ExportsAFrame(HonestModel):
    def exports(self, networks: Any) -> Any:
        return {"generator": Framed(networks["generator"])}


# --- seed and resume ------------------------------------------------------------------------------------------------


@toy("model", "seed", "resume")
class Unseeded(HonestModel):
    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().generator_loss(batch)
        return {**losses, "loss": losses["loss"] * (1 + os.urandom(1)[0])}


@toy("model", "seed")
class SeedsItself(HonestModel):
    def __init__(self, *arguments: Any) -> None:
        torch.manual_seed(0)
        super().__init__(*arguments)

    def prepare(self, batch: Batch) -> Batch:
        return {name: torch.zeros_like(part) for name, part in super().prepare(batch).items()}


@toy("model", "seed")
class SeedsEveryBatch(HonestModel):
    """Its weights are always the same too."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        with torch.no_grad():
            for network in self.networks.values():
                for weight in network.parameters():
                    weight.copy_(torch.linspace(-0.3, 0.5, weight.numel()).view_as(weight))

    def prepare(self, batch: Batch) -> Batch:
        torch.manual_seed(len(batch))
        return {name: torch.full_like(part, 0.5) for name, part in super().prepare(batch).items()}


@toy("model", "seed")
class SeedsWhenBuilt(SeedsItself):
    """By the last thing that is asked of it before the training."""

    def __init__(self, *arguments: Any) -> None:
        HonestModel.__init__(self, *arguments)
        torch.manual_seed(1)
        for network in self.networks.values():
            for module in network.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()


class Counts(HonestModel):
    """Its loss depends on what it keeps between steps."""

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().generator_loss(batch)
        return {**losses, "loss": losses["loss"] * (1 + self.counted() % 3)}

    def counted(self) -> Any:
        raise NotImplementedError


@toy("model", "resume")
class KeepsACount(Counts):
    count = 0

    def counted(self) -> int:
        self.count += 1
        return self.count


@toy("model")
class SavesItsCount(KeepsACount):
    """The same, honest."""

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


@toy("model", "resume")
class ForgetsItsCount(SavesItsCount):
    """It saves it, and does not take it back."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@toy("model", "resume")
class KeepsATensor(Counts):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.steps = torch.zeros(())

    def counted(self) -> Tensor:
        return self.steps.add_(1).clone()


# --- run folder -----------------------------------------------------------------------------------------------------


class Offset(Painter):
    """A part of it is drawn when it is made, and saved nowhere."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.offset = self.drawn()

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + self.offset)

    def drawn(self) -> float:
        return random.uniform(-2, 2)


class OffsetOfNumPy(Offset):
    def drawn(self) -> float:
        return float(np.random.uniform(-2, 2))


class Forgetful(Painter):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.register_buffer("offset", torch.randn(4), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + self.offset)


with_networks("NotSaved", "run folder", painter=Forgetful)
with_networks("DrawnByPython", "run folder", painter=Offset)
with_networks("DrawnByNumPy", "run folder", painter=OffsetOfNumPy)


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    checks = ("class", "schema", "config", "presets", "build", "average", "seed", "resume", "run folder")
    toy.assert_three_for_each("model", *checks)


SENTENCES = {
    "Abstract": "does not implement build_discriminator, build_generator",
    "NoDescription": "the setting width of Undescribed has no description",
    "TakesAnythingInside": "InnerLoose takes unknown settings",
    "BadDefaults": "unknown setting 'model.n_critics'",
    "ClaimsTooMuch": "'generator' updates 'discriminator', but its optimizer does not hold all of it",
    "Unseeded": "two runs with the same seed differ",
    "KeepsACount": "a resumed run differs .*; is something kept between steps that the trainer's state_dict",
}


@pytest.mark.parametrize("key", SENTENCES)
def test_the_sentence_says_what_is_wrong(toys: Registry, key: str) -> None:
    toy.assert_said(toys, key, SENTENCES[key])
