"""The conformance kit passes what is bundled and catches, by the right check, what is dishonest."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import invalidate_caches
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field
from sites import Site, importable
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Batch,
    Dataset,
    DatasetConfig,
    DataSpec,
    Discriminator,
    Generator,
    Image,
    Label,
    Latent,
    Loss,
    Network,
    Points,
    Regularizer,
    RegularizerConfig,
    Score,
    Scores,
    Signature,
    TrainerConfig,
    UserError,
    fields,
    load_registry,
)
from ganzoo.plugin.registry import BUNDLED, Registry
from ganzoo.testing import Result, check, general, run_checks
from ganzoo.testing.results import Check, run

CHECKED = ("model", "loss", "regularizer", "dataset", "metric", "field", "format", "sink", "command")
SHIPPED = [f"{entry.spec.kind}:{entry.name}" for entry in load_registry().specs() if entry.distribution == BUNDLED]


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.partition(":")[0] in CHECKED])
def test_everything_bundled_conforms(name: str) -> None:
    check(name)


@pytest.mark.parametrize("key", ["mnist5k", "digits", "gaussians", "curves", "shapes", "stacked_mnist"])
def test_the_data_sets_that_come_along_are_really_checked(key: str) -> None:
    outcomes = {result.name: result.outcome for result in run_checks(load_registry(), f"dataset:{key}")}
    assert outcomes.pop("workers") == "skipped"  # they lie in memory
    if key == "stacked_mnist":
        assert outcomes.pop("rows") == "skipped"  # its batches are made of three digits each
    assert set(outcomes.values()) == {"passed"}


def test_a_data_set_with_a_required_setting_is_checked_with_it(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    for index in range(5):
        Pillow.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{index}.png")
    results = list(run_checks(load_registry(), "folder", [f"path={tmp_path.as_posix()}", "memory=0"]))
    assert {result.name for result in results if result.outcome != "passed"} == {"dataset: rows"}, results  # on disk


# Toys: an honest one of each kind, and dishonest ones with the check that is to catch them


TOYS: dict[str, tuple[str, str, tuple[str, ...]]] = {}
Class = TypeVar("Class", bound=type)


def toy(kind: str, *caught: str) -> Callable[[Class], Class]:
    """Offer the class as a plugin's; ``caught`` are the checks that fail, none for an honest one."""

    def offer(cls: Class) -> Class:
        TOYS[cls.__name__] = (kind, cls.__name__, caught)
        return cls

    return offer


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The toys, and what is bundled but file formats, which take seconds."""
    folder = tmp_path_factory.mktemp("toys")
    specs = ", ".join(f"Spec({kind!r}, {key!r}, 'A toy.', '{__name__}:{cls}')" for key, (kind, cls, _) in TOYS.items())
    metadata = folder / "toys-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ganzoo.plugins]\ntoys = toys_plugin\nheavy = toys_heavy\n")
    head = "from ganzoo import Spec, hookimpl\n@hookimpl\ndef ganzoo_specs():\n"
    (folder / "toys_plugin.py").write_text(f"{head}    return [{specs}]\n")
    (folder / "toys_heavy.py").write_text(
        f"import torch\n{head}    return [Spec('loss', 'heavy', 'A toy.', '{__name__}:HonestLoss'),\n"
        f"            Spec('model', 'HonestLoss', 'The same key twice.', '{__name__}:Honest')]\n"
    )
    sys.path.insert(0, str(folder))
    invalidate_caches()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZOO_DISABLE_PLUGINS", f"{BUNDLED}/onnx")
        registry = Registry()
    yield registry
    sys.path.remove(str(folder))


class Painter(Generator):
    """A tiny honest generator."""

    def __init__(self, sample: Any) -> None:
        super().__init__(Signature((Latent((4,)),), sample))
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, sample.height * sample.width))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).tanh().unflatten(1, self.signature.output.shape)


class Evaluator(Discriminator):
    """A tiny honest discriminator."""

    def __init__(self, sample: Any) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(sample.height * sample.width, 8), nn.Softplus(), nn.Linear(8, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


@toy("model")
class Honest(AdversarialTrainer):
    """Everything as it should be; the others differ from it in one thing."""

    painter: ClassVar[type[Generator]] = Painter
    judge: ClassVar[type[Discriminator]] = Evaluator
    defaults: ClassVar[Mapping[str, Any]] = {"data": {"name": "digits"}, "loss": {"name": "wgan_gp"}}

    def build_generator(self, sample: Any) -> Generator:
        return self.painter(sample)

    def build_discriminator(self, sample: Any) -> Discriminator:
        return self.judge(sample)


class TooLoud(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return 2 * self.body(z).unflatten(1, self.signature.output.shape)


class Flat(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).tanh()


class Double(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).double()


class Noisy(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + 0.1 * torch.randn_like(z))


class Crowded(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z - z.mean(dim=0))


class Destructive(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.mul_(0.5))


class DeadWeight(Painter):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.unused = nn.Linear(4, 8)


class Muted(DeadWeight):
    """Its weight has a gradient, which is always zero."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + 0 * self.unused(z).sum())


class DeadReLU(Painter):
    """With every seed, or, as it may happen, with the first one."""

    unlucky: ClassVar[tuple[int, ...]] = tuple(range(100))

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        if torch.initial_seed() in self.unlucky:
            nn.init.constant_(self.body[0].bias, -100)


class UnluckyReLU(DeadReLU):
    unlucky = (0,)


class Forgetful(Painter):
    """A part of it is drawn when it is made and saved nowhere."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.register_buffer("offset", torch.randn(4), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z + self.offset)


class MutedScalar(Evaluator):
    """Its offset has no effect, though it is as small as one that shifts all scores."""

    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * self.offset


class Squashed(Evaluator):
    def __init__(self, sample: Any) -> None:
        super().__init__(sample)
        self.squash = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.squash(super().forward(x))


class Summed(Evaluator):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sum()


class Infinite(Evaluator):
    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        return scores + 0 * (scores - scores.detach()).abs().sqrt()  # the square root's slope at 0


def with_networks(name: str, *caught: str, **networks: type[Network]) -> None:
    globals()[name] = toy("model", *caught)(type(name, (Honest,), networks | {"__module__": __name__}))


with_networks("WrongRange", "signature", painter=TooLoud)
with_networks("WrongShape", "signature", "training", painter=Flat)
with_networks("WrongType", "signature", "training", painter=Double)
with_networks("DrawsInside", "signature", "run folder", painter=Noisy)
with_networks("MixesSamples", "signature", painter=Crowded)
with_networks("ChangesInput", "signature", painter=Destructive)
with_networks("EndsInSigmoid", "signature", judge=Squashed)
with_networks("DeadParameter", "gradients", "learning", painter=DeadWeight)
with_networks("MutedParameter", "learning", painter=Muted)
with_networks("DeadWithEverySeed", "learning", painter=DeadReLU)
with_networks("DeadWithOneSeed", painter=UnluckyReLU)
with_networks("NotSaved", "run folder", painter=Forgetful)


@toy("model")
class Critic(Honest):
    """The last bias of its discriminator shifts all scores, and the loss does not see that."""

    defaults: ClassVar[Mapping[str, Any]] = {"data": {"name": "digits"}, "loss": {"name": "wgan"}}


@toy("model")
class WithinTheMargin(Honest):
    """Nor does this loss, until the first score leaves the margin."""

    defaults: ClassVar[Mapping[str, Any]] = {"data": {"name": "digits"}, "loss": {"name": "hinge"}}


@toy("model", "learning")
class MutedOffset(Critic):
    judge = MutedScalar


@toy("model", "learning")
class StiffBias(Honest):
    """The optimizer holds the last bias, and moves it by nothing."""

    defaults: ClassVar[Mapping[str, Any]] = {"data": {"name": "digits"}, "loss": {"name": "non_saturating"}}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        *weights, bias = self.discriminator.parameters()
        groups = [{"params": weights}, {"params": [bias], "lr": 0.0}]
        self.optimizers["discriminator"] = torch.optim.Adam(groups, 1e-3, (0.5, 0.999))


@toy("model", "signature", "training")
class OneScore(Honest):
    judge = Summed


@toy("model", "signature", "training")
class InfiniteGradient(Honest):
    """Its second step is nonsense, since its first had no finite gradient."""

    defaults: ClassVar[Mapping[str, Any]] = {"data": {"name": "digits"}, "loss": {"name": "wgan"}}
    judge = Infinite


@toy("model", "n_critic")
class IgnoresNCritic(Honest):
    n_critic = 1


@toy("model", "n_critic")
class RepeatsEverything(Honest):
    def phases(self) -> Any:
        from dataclasses import replace

        return [replace(phase, repeat=self.n_critic) for phase in super().phases()]


@toy("model", "ownership")
class TouchesTheOther(Honest):
    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            self.discriminator.body[1].weight.mul_(0.999)
        return super().generator_loss(batch)


@toy("model", "build")
class ClaimsTooMuch(Honest):
    """A phase says that it updates the discriminator too, whose weights its optimizer does not have."""

    def phases(self) -> Any:
        from dataclasses import replace

        *others, last = super().phases()
        return [*others, replace(last, updates=("generator", "discriminator"))]


@toy("model", "steps")
class StepsByItself(Honest):
    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        self.optimizers["discriminator"].step()
        return super().generator_loss(batch)


@toy("model", "resume")
class KeepsACount(Honest):
    count = 0

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        self.count += 1
        losses = super().generator_loss(batch)
        return {**losses, "loss": losses["loss"] * (1 + self.count % 3)}


@toy("model")
class SavesItsCount(KeepsACount):
    """The same, honest."""

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


@toy("model", "seed", "resume")
class Unseeded(Honest):
    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().generator_loss(batch)
        return {**losses, "loss": losses["loss"] * (1 + os.urandom(1)[0])}


@toy("model", "seed")
class SeedsItself(Honest):
    def __init__(self, *arguments: Any) -> None:
        torch.manual_seed(0)
        super().__init__(*arguments)

    def prepare(self, batch: Batch) -> Batch:
        return {name: torch.zeros_like(part) for name, part in super().prepare(batch).items()}


@toy("model", "average", "run folder")
class ExportsLastStep(Honest):
    def exports(self, networks: Any) -> Any:
        return super().exports(self.networks)


@toy("model", "average", "run folder")
class ExportsAnotherNetwork(Honest):
    def exports(self, networks: Any) -> Any:
        return {"generator": self.generator}


@toy("model", "build")
class WeightWithoutOptimizer(Honest):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.optimizers["generator"] = torch.optim.SGD(self.generator.body[0].parameters(), lr=0.1)


@toy("model", "intervals")
class IgnoresRegularizers(Honest):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.objective.penalties = {}


@toy("model", "intervals")
class IgnoresIntervals(Honest):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for penalty in self.objective.penalties.values():
            penalty.config = penalty.config.model_copy(update={"interval": 1})


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


def with_config(name: str, caught: str, config: type[TrainerConfig], **more: Any) -> None:
    body = {"Config": config, "__module__": __name__} | more
    globals()[name] = toy("model", caught)(type(name, (Honest,), body))


with_config("NoDescription", "schema", Undescribed)
with_config("TakesAnything", "schema", Loose)
with_config("TakesAnythingInside", "schema", Nested)
with_config("NoRoundTrip", "presets", Impatient, presets={"patient": {"model": {"n_critic": None}}})
BAD_DEFAULTS = {"model": {"n_critics": 1}, "data": {"name": "gaussians"}}
with_config("BadDefaults", "config", AdversarialConfig, defaults=BAD_DEFAULTS)
with_config("BadPreset", "presets", AdversarialConfig, presets={"big": {"model": {"width": 1}}})


@toy("model", "class")
class NoModel:
    """A subclass of nothing."""


@toy("model", "class")
class Abstract(AdversarialTrainer):
    """It implements nothing."""


@toy("loss")
class HonestLoss(Loss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return nn.functional.softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None
        return nn.functional.softplus(real - fake).mean()

    needs_real = True


@toy("loss", "batch mean")
class SumLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return nn.functional.softplus(fake - real).sum()


@toy("loss", "gradients", "adversarial")
class DetachedLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().discriminator(real, fake.detach())


@toy("loss", "adversarial")
class FriendlyLoss(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return self.discriminator(real, fake)


@toy("loss", "adversarial")
class BackwardLoss(HonestLoss):
    """Both players' signs are wrong; the generator still works against the discriminator, which sees through it."""

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return fake.square().mean() * 0 + fake.mean()


@toy("loss", "large scores")
class OverflowingLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()


@toy("loss", "scores")
class PerSampleLoss(HonestLoss):
    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return -fake


@toy("loss", "scores")
class ColumnLoss(HonestLoss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().discriminator(real[:, 0], fake[:, 0])


@toy("loss", "build")
class UnknownRegularizerLoss(HonestLoss):
    regularizers: ClassVar[Mapping[str, Mapping[str, Any]]] = {"gradient_penalti": {}}


@toy("regularizer")
class HonestRegularizer(Regularizer):
    """Its gradient is the discriminator's at real samples (R1)."""

    graph = True

    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        real = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(real).sum(), real, create_graph=self.graph)
        return gradient.square().flatten(1).sum(1).mean()


@toy("regularizer", "images", "points")
class NoGraphRegularizer(HonestRegularizer):
    graph = False


@toy("regularizer", "images", "points")
class LeavesGradients(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        score(real).sum().backward()
        return super().penalty(score, real, fake)


@toy("regularizer", "images", "points")
class Idle(Regularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        return None


@toy("regularizer", "images", "points")
class ChangesSamples(HonestRegularizer):
    def penalty(self, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        real.add_(0.1)
        return super().penalty(score, real, fake)


class RegularizerWithoutDescription(RegularizerConfig):
    center: float = 0.0


@toy("regularizer", "schema")
class UndescribedRegularizer(HonestRegularizer):
    Config = RegularizerWithoutDescription


@toy("dataset")
class HonestData(Dataset):
    """Grey images and labels."""

    images = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 1, 2, 2)
    labels = torch.arange(12) % 3

    def __init__(self, config: DatasetConfig) -> None:
        self.spec = DataSpec("honest", (Image(1, 2, 2, range=(0, 255)), Label(3)), 12)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {"x": self.images[indices], "y": self.labels[indices]}


@toy("dataset", "batches")
class FloatImages(HonestData):
    images = torch.rand(12, 1, 2, 2)


@toy("dataset", "batches")
class WrongLabels(HonestData):
    labels = torch.arange(12)


@toy("dataset", "batches")
class FieldsInAnotherOrder(HonestData):
    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return dict(reversed(super().batch(indices, rng).items()))


@toy("dataset", "batches", "resume")
class TooShort(HonestData):
    """Its spec says one more sample than there is: the last index fails."""

    images = HonestData.images[:11]


@toy("dataset", "spec")
class ScaledImages(HonestData):
    def __init__(self, config: DatasetConfig) -> None:
        self.spec = DataSpec("scaled", (Image(1, 2, 2), Label(3)), 12)


@toy("dataset", "spec")
class AnotherLength(HonestData):
    def __len__(self) -> int:
        return 11


@toy("dataset", "spec")
class UnknownMetric(HonestData):
    metrics = ("no_such_metric",)


@toy("dataset", "randomness", "resume")
class GlobalNoise(HonestData):
    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {**super().batch(indices, rng), "x": torch.randint(255, (len(indices), 1, 2, 2), dtype=torch.uint8)}


@toy("dataset", "randomness", "resume")
class Counting(HonestData):
    calls = 0

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        self.calls += 1
        return {name: (part + self.calls) % 3 for name, part in super().batch(indices, rng).items()}


@toy("dataset", "randomness")
class Lends(Dataset):
    """It hands out its own memory."""

    def __init__(self, config: DatasetConfig) -> None:
        self.spec = DataSpec("lends", (Points(2),), 64)
        self.points = torch.ones(64, 2)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {"x": self.points[: len(indices)]}


@toy("dataset", "rows", "resume")
class OtherRows(HonestData):
    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {name: part.flip(0) for name, part in super().batch(indices, rng).items()}

    @property
    def rows(self) -> Batch:
        return self.tensors


@toy("dataset", "workers")
class Unpicklable(HonestData):
    in_memory = False

    def __init__(self, config: DatasetConfig) -> None:
        super().__init__(config)
        self.secret = lambda: 0


def flat(cls: type) -> type:
    """Make a kind of field out of a class that says what is wrong with it: 3 numbers, called by its own name."""
    members = {
        "kind": cls.__name__,
        "describe": lambda self: "three numbers",
        "from_json": classmethod(lambda cls, data, name, shape: cls(shape[0], name)),
        "shape": property(lambda self: (self.dim,)),
        "__annotations__": {"dim": "int", "name": "str"},
        "dim": 3,
        "name": "x",
        "__module__": __name__,
    }
    return dataclass(frozen=True)(type(cls.__name__, (fields.Field,), members | own(cls)))


def own(cls: type) -> dict[str, Any]:
    return {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__", "__module__")}


@toy("field")
@flat
class HonestField:
    pass


@toy("field", "kind")
@flat
class MisnamedField:
    kind = "other"


@toy("field", "build")
@flat
class UnmadeField:
    def __post_init__(self) -> None:
        raise TypeError("no")


@toy("field", "document")
@flat
class ForgetfulField:
    from_json = classmethod(lambda cls, data, name, shape: cls(shape[0] + 1, name))


@toy("field", "document")
@flat
class UnspokenField:
    def to_json(self) -> dict[str, Any]:
        return {**fields.Field.to_json(self), "extra": {1, 2}}


@toy("field", "values")
@flat
class ShapelessField:
    def example(self, random: Any, index: Any) -> Any:
        return random.standard_normal((len(index), 2), dtype="float32")


@toy("field", "values")
@flat
class SelfAccusingField:
    def fault(self, values: Any) -> str:
        return "nothing right"


@toy("field", "values")
@flat
class RestlessField:
    def example(self, random: Any, index: Any) -> Any:
        return np.random.default_rng().standard_normal((len(index), 3), dtype="float32")


@toy("field", "encoding")
@flat
class OneWayField:
    def encode(self, batch: Tensor) -> Tensor:
        return batch * 2


@toy("field", "encoding")
@flat
class WideField:
    def encode(self, batch: Tensor) -> Tensor:
        return batch.double()


@toy("field", "packed")
@flat
class PackedField:
    def packed(self, count: int) -> Any:
        return self


@toy("field", "picture")
@flat
class UnseenField:
    def picture(self, samples: Any, real: Any = None, columns: Any = None) -> Any:
        return samples


@toy("field", "stored")
@flat
class DriftingField:
    def stored(self, samples: Any) -> Any:
        return samples + 1


@toy("field", "stored")
@flat
class LostField:
    def stored(self, samples: Any) -> Any:
        return samples[:1]


@pytest.mark.parametrize("key", TOYS)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(general, "discovery", lambda *_: None)  # a process each; checked for itself below
    kind, _, caught = TOYS[key]
    results = list(run_checks(toys, f"{kind}:{key}"))
    failed = {result.name: result.detail for result in results if result.outcome == "failed"}
    assert list(failed) == list(caught), failed
    for result in results:
        assert result.detail or result.outcome == "passed"
        assert "\n" not in result.detail


SENTENCES = {
    "WrongRange": "generator returns values from .* and its signature says -1 to 1",
    "WrongShape": r"returns torch.float32 \[1, 64\] for a batch of 1, and its signature says .* \[1, 1, 8, 8\]",
    "IgnoresNCritic": "with n_critic=3 no phase takes three times the optimizer steps",
    "TouchesTheOther": "the phase 'generator' changes discriminator.body.1.weight, and it updates 'generator'",
    "DeadParameter": "generator.unused.weight and 1 more gets no gradient in 4 steps",
    "KeepsACount": "a resumed run differs .*; is something kept between steps that the trainer's state_dict",
    "ClaimsTooMuch": "'generator' updates 'discriminator', but its optimizer does not hold all of it",
    "InfiniteGradient": "the gradient of discriminator.body.1.weight in phase 'discriminator' is not finite",
    "Unseeded": "two runs with the same seed differ",
    "NoDescription": "the setting width of Undescribed has no description",
    "TakesAnythingInside": "InnerLoose takes unknown settings",
    "BadDefaults": "unknown setting 'model.n_critics'",
    "Abstract": "does not implement build_discriminator, build_generator",
    "TooShort": "IndexError: .*test_conformance.py, line",
    "Unpicklable": "it cannot be pickled, as worker processes need",
}


@pytest.mark.parametrize("key", SENTENCES)
def test_the_sentence_says_what_is_wrong(toys: Registry, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(general, "discovery", lambda *_: None)
    with pytest.raises(AssertionError, match=SENTENCES[key]):
        check(f"{TOYS[key][0]}:{key}", registry=toys)


def test_discovery_that_imports_torch_is_caught(toys: Registry) -> None:
    results = {result.name: result for result in run_checks(toys, "loss:toys/heavy")}
    assert results["discovery"].outcome == "failed"
    assert "imports torch" in results["discovery"].detail
    # Another plugin of the same distribution is not blamed.
    honest = {result.name: result for result in run_checks(toys, "loss:toys/HonestLoss")}
    assert honest["discovery"] == Result("discovery", "passed")


def test_a_network_that_is_no_onnx_is_caught(toys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Branching(Painter):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z) if z.sum() > 100 else super().forward(z) * 0.5

    monkeypatch.setattr(Honest, "painter", Branching)
    monkeypatch.setattr(general, "discovery", lambda *_: None)
    monkeypatch.delenv("GANZOO_DISABLE_PLUGINS", raising=False)
    results = {result.name: result for result in run_checks(Registry(), "toys/Honest")}
    assert results["format onnx"].outcome == "failed"
    assert "cannot be exported" in results["format onnx"].detail


FORMAT = """
from ganzoo import Format

class Broken(Format):
    def export(self, network, path, metadata, **options):
        raise OSError("no such device")

    def load(self, path):
        raise OSError("no such device")
"""


def test_what_third_parties_break_is_no_fault_of_a_model(
    toys: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their formats are tried with their own models, where they are theirs."""
    monkeypatch.setattr(general, "discovery", lambda *_: None)
    offered = {"format": "other_format:Broken", "sink": "other_gone:x", "metric": "other_gone:X"}
    specs = ", ".join(f"Spec({kind!r}, 'broken', 'S.', {target!r})" for kind, target in offered.items())
    specs += f", Spec('model', 'painter', 'S.', '{__name__}:Honest')"
    with importable(tmp_path):
        site = Site(tmp_path)
        site.add("other", plugin=f"@hookimpl\ndef ganzoo_specs():\n    return [{specs}]\n")
        (tmp_path / "other_format.py").write_text(FORMAT)
        monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", f"{BUNDLED}/onnx")
        registry = Registry()
        for model, failed in {"toys/Honest": {}, "other/painter": {"format broken": "OSError: no such device"}}.items():
            results = list(run_checks(registry, f"model:{model}"))
            found = {result.name: result.detail for result in results if result.outcome == "failed"}
            assert found.keys() == failed.keys()
            assert all(found[name].startswith(sentence) for name, sentence in failed.items())


def test_data_that_is_not_there_is_replaced_by_random_data(toys: Registry, tmp_path: Path) -> None:
    settings = ["data.name=cifar10", f"data.root={tmp_path.as_posix()}", "loss.name=non_saturating"]
    results = {result.name: result for result in run_checks(toys, "gan_fc", [*settings, "model.hidden=[8]"])}
    assert results["build"].detail.startswith("checked on random data, since cifar10 is not in ")
    assert {result.outcome for result in results.values()} <= {"passed", "skipped"}


def test_names(toys: Registry) -> None:
    with pytest.raises(UserError, match=r"unknown name 'HonestLos'; did you mean 'HonestLoss'\?"):
        next(run_checks(toys, "HonestLos"))
    with pytest.raises(UserError, match=r"unknown kind 'lose'; did you mean 'loss'\?"):
        next(run_checks(toys, "lose:HonestLoss"))
    with pytest.raises(UserError, match="unknown loss"):
        next(run_checks(toys, "loss:Honest"))
    names = [result.name for result in run_checks(toys, "HonestLoss")]  # a loss and a model
    assert names[0] == "model: discovery"
    assert names[-1] == "loss: large scores"


def test_results_come_one_by_one_and_nothing_else_comes_out() -> None:
    def leave() -> None:
        raise SystemExit(3)

    def fail() -> None:
        raise KeyError("two\nlines")

    done: list[str] = []
    checks = [
        Check("first", lambda: done.append("first")),
        Check("second", fail),
        Check("third", leave, vital=True),
        Check("fourth", lambda: done.append("fourth")),
    ]
    results = run(checks)
    assert not done
    assert next(results) == Result("first", "passed")
    second, third, fourth = results
    assert (second.outcome, third.outcome, fourth.outcome) == ("failed", "failed", "skipped")
    assert second.detail.startswith(r"KeyError: 'two\nlines' (test_conformance.py, line ")
    assert third.detail.startswith("SystemExit: 3")
    assert done == ["first"]


def test_checks_leave_the_random_state_alone(toys: Registry) -> None:
    torch.manual_seed(3)
    wanted = torch.randn(3)
    torch.manual_seed(3)
    list(run_checks(toys, "loss:HonestLoss"))
    list(run_checks(toys, "dataset:GlobalNoise"))
    assert torch.equal(torch.randn(3), wanted)
