"""What is wrong with a data set or a metric is caught by the right check."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from toys import Toys

from ganzoo import Batch, Dataset, DatasetConfig, DataSpec, Image, Label, Metric, MetricConfig, Points, UserError
from ganzoo.plugin.registry import Registry

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


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


class NotBuilt(HonestData):
    """It fails with what is no sentence for a user."""

    error: ClassVar[Exception]

    def __init__(self, config: DatasetConfig) -> None:
        raise self.error


for number, error in enumerate((KeyError("images"), FileNotFoundError("/data"), TypeError("no path"))):
    toy("dataset", "build")(type(f"NotBuilt{number}", (NotBuilt,), {"error": error, "__module__": __name__}))


@toy("dataset", "randomness", "resume")
class GlobalNoise(HonestData):
    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {**super().batch(indices, rng), "x": torch.randint(255, (len(indices), 1, 2, 2), dtype=torch.uint8)}


@toy("dataset", "randomness")
class DrawsInVain(HonestData):
    """From torch's global generator, and does not use it."""

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        torch.rand(1)
        return super().batch(indices, rng)


@toy("dataset", "randomness")
class Lends(Dataset):
    """It hands out its own memory."""

    def __init__(self, config: DatasetConfig) -> None:
        self.spec = DataSpec("lends", (Points(2),), 64)
        self.points = torch.ones(64, 2)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {"x": self.points[: len(indices)]}


@toy("dataset", "randomness")
class LendsLabels(HonestData):
    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {"x": self.images[indices], "y": self.ones[: len(indices)]}

    ones = torch.ones(64, dtype=torch.int64)


class HasRows(HonestData):
    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {"x": self.images[indices].contiguous(), "y": self.labels[indices]}

    @property
    def rows(self) -> Batch:
        return {"x": self.images.contiguous(), "y": self.labels}


@toy("dataset", "rows")
class MirroredBatches(HasRows):
    """What batch() does to samples, its rows do not know."""

    images = torch.arange(48, dtype=torch.uint8).view(12, 1, 2, 2)
    rows = HasRows.rows

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        return {**super().batch(indices, rng), "x": self.images[indices].flip(-1)}


@toy("dataset", "rows")
class RowsOfMore(HasRows):
    """One sample more than there are."""

    rows = property(lambda self: {"x": self.images[[*range(12), 0]], "y": self.labels[[*range(12), 0]]})  # type: ignore[assignment]


@toy("dataset", "rows")
class OtherLabels(HasRows):
    rows = property(lambda self: {"x": self.images.contiguous(), "y": 2 - self.labels})  # type: ignore[assignment]


@toy("dataset", "resume")
class CountsBatches(HonestData):
    """A batch depends on how many other batches came before."""

    last, count = torch.zeros(0), 0

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        if not torch.equal(self.last, indices):
            self.last, self.count = indices.clone(), self.count + 1
        batch = super().batch(indices, rng)
        return {**batch, "x": batch["x"] + self.shift(len(indices))}

    def shift(self, n: int) -> int:
        return self.count


@toy("dataset", "resume")
class GrowsDarker(CountsBatches):
    """Only in batches of a training's size."""

    def shift(self, n: int) -> int:
        return self.count**2 if n < 8 else 0


@toy("dataset", "resume")
class AlternatesBatches(CountsBatches):
    def shift(self, n: int) -> int:
        return (self.count // 2) % 2 * 7


class OnDisk(HonestData):
    in_memory = False


@toy("dataset", "workers")
class Unpicklable(OnDisk):
    def __init__(self, config: DatasetConfig) -> None:
        super().__init__(config)
        self.secret = lambda: 0


@toy("dataset", "workers")
class HoldsALock(OnDisk):
    def __init__(self, config: DatasetConfig) -> None:
        super().__init__(config)
        self.lock = threading.Lock()


@toy("dataset", "workers")
class CopyHasNoImages(OnDisk):
    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "images": torch.zeros_like(self.images)}


# --- metrics --------------------------------------------------------------------------------------------------------


@toy("metric")
class HonestMetric(Metric):
    """The mean of the samples; the others differ from it in one thing."""

    better: ClassVar[Mapping[str, Any]] = {"mean": "as real"}

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        return {"mean": float(samples.mean())}

    def reference(self) -> dict[str, float]:
        return {"mean": float(self.dataset.examples(20)[self.dataset.spec.sample.name].float().mean())}


@toy("metric")
class Refuses(HonestMetric):
    """Honest: it is for images in color alone."""

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if dataset.spec.sample.shape != (3, 32, 32):
            raise UserError("it needs images in color")


@toy("metric")
class RefusesAll(HonestMetric):
    """It is for a data set that is not here, which is no fault."""

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        raise UserError("it needs a very special data set")


class Unmade(HonestMetric):
    error: ClassVar[Exception]

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        raise self.error


for number, error in enumerate((KeyError("centers"), AttributeError("no centers"), IndexError())):
    toy("metric", "build")(type(f"Unmade{number}", (Unmade,), {"error": error, "__module__": __name__}))


class Returns(HonestMetric):
    """It returns this."""

    value: Any = None

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        return self.value


for name, value in {
    "Nothing": None,
    "ANumber": 0.5,
    "NoFigures": {},
    "ATensor": {"mean": torch.zeros(())},
    "NoNumber": {"mean": float("nan")},
    "Unnamed": {0: 0.5},
}.items():
    toy("metric", "figures")(type(f"Returns{name}", (Returns,), {"value": value, "__module__": __name__}))


@toy("metric", "figures")
class WithoutCondition(HonestMetric):
    """It takes the samples alone."""

    def __call__(self, samples: Tensor) -> dict[str, float]:  # type: ignore[override]
        return {"mean": float(samples.mean())}


@toy("metric", "figures")
class NeedsLabels(HonestMetric):
    """It does not say so by ``conditional``."""

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        return {"mean": float(samples[condition["y"] == 0].mean())}


@toy("metric")
class SaysItNeedsLabels(NeedsLabels):
    conditional = True


@toy("metric", "repeat")
class RandomPart(HonestMetric):
    """It looks at a random part of the samples, another one each time."""

    rng = torch.Generator()

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        return super().__call__(samples[torch.randperm(len(samples), generator=self.rng)[:5]], condition)


@toy("metric", "repeat")
class GlobalPart(HonestMetric):
    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        torch.randperm(len(samples))
        return super().__call__(samples, condition)


@toy("metric", "repeat")
class AddsUp(HonestMetric):
    total = 0.0

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        self.total += float(samples.mean())
        return {"mean": self.total}


@toy("metric", "input")
class Scales(HonestMetric):
    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        return {"mean": float(samples.div_(255).mean())}


@toy("metric", "input")
class Sorts(HonestMetric):
    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        samples.copy_(samples.sort(dim=0).values)
        return super().__call__(samples, condition)


@toy("metric", "input")
class ChangesLabels(HonestMetric):
    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        for part in condition.values():
            part.sub_(1)
        return super().__call__(samples, condition)


class Refers(HonestMetric):
    """Its reference is this."""

    value: Any = None

    def reference(self) -> dict[str, float]:
        return self.value


for name, value in {"OtherNames": {"average": 0.5}, "ATensor": {"mean": torch.zeros(())}, "Nothing": None}.items():
    toy("metric", "reference")(type(f"Refers{name}", (Refers,), {"value": value, "__module__": __name__}))

for number, better in enumerate(({"men": "higher"}, {"mean": "up"}, {"mean": True})):
    toy("metric", "better")(type(f"Better{number}", (HonestMetric,), {"better": better, "__module__": __name__}))


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    toy.assert_three_for_each("dataset", "build", "spec", "batches", "randomness", "rows", "resume", "workers")
    toy.assert_three_for_each("metric", "build", "figures", "repeat", "input", "reference", "better")


SENTENCES = {
    "TooShort": "IndexError: .*test_checks_of_data.py, line",
    "Unpicklable": "it cannot be pickled, as worker processes need",
    "ReturnsATensor": r"the figure 'mean' is a Tensor; return a number, float\(...\)",
    "ReturnsNothing": "it returns nothing; a metric returns its figures by name, a dict of numbers",
    "AddsUp": "the figure 'mean' of the same samples is .*, then",
    "RefersOtherNames": "the reference has a figure 'average', and samples get 'mean'",
    "Better0": "better names the figure 'men', and there are 'mean'",
    "Better1": r"better\['mean'\] is 'up', not one of 'higher', 'lower', 'as real'",
}


@pytest.mark.parametrize("key", SENTENCES)
def test_the_sentence_says_what_is_wrong(toys: Registry, key: str) -> None:
    toy.assert_said(toys, key, SENTENCES[key])


def test_what_third_parties_break_is_no_fault_of_a_metric(toys: Registry, tmp_path: Path) -> None:
    """A data set that asks for a metric and cannot be made is not the metric's."""
    from sites import Site, importable

    with importable(tmp_path):
        source = "@hookimpl\ndef ganzoo_specs():\n    return [Spec('dataset', 'digits', 'S.', 'no_such_module:X')]\n"
        Site(tmp_path).add("other", plugin=source)
        toy.results.pop("RefusesAll", None)
        assert toy.failed(Registry(), "RefusesAll") == {}
