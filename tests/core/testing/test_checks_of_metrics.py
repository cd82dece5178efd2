"""What is wrong with a metric is caught by the right check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from toys import Toys

from ganzoo import Dataset, Metric, MetricConfig, Sampler, UserError
from ganzoo.plugin.registry import Registry

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


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


@toy("metric")
class Probes(HonestMetric):
    """It draws samples itself, and has a figure of these alone."""

    better: ClassVar[Mapping[str, Any]] = {"nearness": "as real"}

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        return {}

    def probe(self, sampler: Sampler, seed: int) -> dict[str, float]:
        one, other = (sampler.sample(8, seed=seed, latents=sampler.latents(8, seed) + near) for near in (0, 0.1))
        return {"nearness": float(abs(one - other).mean())}

    def reference(self) -> dict[str, float]:
        return {}


@toy("metric", "figures")
class ProbesNothing(Probes):
    def probe(self, sampler: Sampler, seed: int) -> dict[str, float]:
        return None  # type: ignore[return-value]


@toy("metric", "repeat")
class ProbesAtRandom(Probes):
    def probe(self, sampler: Sampler, seed: int) -> dict[str, float]:
        return super().probe(sampler, int(torch.randint(100, ())))


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
    toy.assert_three_for_each("metric", "build", "figures", "repeat", "input", "reference", "better")


SENTENCES = {
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
