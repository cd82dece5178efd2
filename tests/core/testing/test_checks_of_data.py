"""What is wrong with a data set is caught by the right check."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from toys import Toys

from ganzoo import Batch, Dataset, DatasetConfig, DataSpec, Image, Label, Points
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


@toy("dataset", "batches")
class TooShort(HonestData):
    """Its spec says one more sample than there is: the last index fails."""

    images = HonestData.images[:11]


@toy("dataset", "spec")
class ScaledImages(HonestData):
    def __init__(self, config: DatasetConfig) -> None:
        self.spec = DataSpec("scaled", (Image(1, 2, 2), Label(3)), 12)


@toy("dataset", "batches")
class Arrays(HonestData):
    def batch(self, indices: Tensor, rng: torch.Generator) -> Any:
        return {name: tensor.numpy() for name, tensor in super().batch(indices, rng).items()}


@toy("dataset", "spec")
class NoSpec(HonestData):
    def __init__(self, config: DatasetConfig) -> None:
        pass


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


@toy("dataset", "randomness", "resume", "content")
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


@toy("dataset", "order", "resume")
class LeavesOne(HonestData):
    def order(self, rng: torch.Generator, rows: Tensor | None = None) -> Tensor:
        return super().order(rng, rows)[1:]


@toy("dataset", "order")
class Repeats(HonestData):
    def order(self, rng: torch.Generator, rows: Tensor | None = None) -> Tensor:
        return torch.zeros_like(super().order(rng, rows))


@toy("dataset", "order", "resume")
class OrdersByChance(HonestData):
    def order(self, rng: torch.Generator, rows: Tensor | None = None) -> Tensor:
        return super().order(torch.Generator().manual_seed(int(torch.randint(2**62, ()))), rows)


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


@toy("dataset", "content")
class MadeAtRandom(HonestData):
    """Each time it is made, its samples are others."""

    def __init__(self, config: DatasetConfig) -> None:
        super().__init__(config)
        self.images = torch.randint(255, (12, 1, 2, 2), dtype=torch.uint8)


@toy("dataset", "content")
class SaysNothing(HonestData):
    def content(self) -> Iterator[Tensor | bytes]:
        yield b""
        yield self.images[:0]


@toy("dataset", "content")
class SaysItsNames(HonestData):
    def content(self) -> Iterator[Any]:
        yield from self.spec.name


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    toy.assert_three_for_each(
        "dataset", "build", "spec", "batches", "randomness", "rows", "resume", "workers", "content"
    )


SENTENCES = {
    "TooShort": "IndexError: .*test_checks_of_data.py, line",
    "SaysItsNames": r"its content\(\) yields str",
    "Unpicklable": "it cannot be pickled, as worker processes need",
}


@pytest.mark.parametrize("key", SENTENCES)
def test_the_sentence_says_what_is_wrong(toys: Registry, key: str) -> None:
    toy.assert_said(toys, key, SENTENCES[key])
