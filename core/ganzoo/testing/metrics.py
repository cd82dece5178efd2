"""Checks of metrics, called for real on a few samples of a small data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import isfinite, prod
from typing import Any, get_args

import torch
from torch import Tensor

from ganzoo.config.validation import validate
from ganzoo.data.dataset import Dataset
from ganzoo.errors import UserError
from ganzoo.fields import Attributes, Image, Label, Latent, Points, Signature, Tokens
from ganzoo.gan.metrics import Direction, Metric
from ganzoo.gan.networks import Generator
from ganzoo.gan.sampler import Sampler
from ganzoo.inference.sampling import TorchSampler
from ganzoo.plugin.registry import BUNDLED, Entry, Registry
from ganzoo.testing.datasets import offline
from ganzoo.testing.general import build_settings
from ganzoo.testing.results import Check, Fault, Skip
from ganzoo.testing.samples import random_data

__all__ = ["checks"]

SAMPLES = 64
"""How many samples a metric is called with."""


@dataclass(frozen=True)
class _Case:
    """A metric with the data set that it was made for, samples, and what these were drawn for."""

    metric: Metric
    samples: Tensor
    condition: Mapping[str, Tensor]
    sampler: Sampler | None

    def figures(self, condition: Mapping[str, Tensor] | None = None) -> dict[str, float]:
        given = self.condition if condition is None else condition
        found: dict[str, float] = self.metric(
            self.samples.clone(), {name: values.clone() for name, values in given.items()}
        )
        if self.sampler is not None and type(self.metric).probe is not Metric.probe:
            probed = self.metric.probe(self.sampler, seed=0)
            for name, values in (("a call", found), ("probe()", probed)):
                if not isinstance(values, dict):
                    raise Fault(f"{name} returns {_said(values)}; both return figures by name, a dict")
            found = found | probed
        return found


class _Waves(Generator):
    """Samples that follow the latent smoothly, whatever the conditions: sines of mixtures of its numbers."""

    def __init__(self, signature: Signature) -> None:
        super().__init__(signature)
        size = prod(signature.output.shape)
        self.mixture = torch.randn(4, size, generator=torch.Generator().manual_seed(0))

    def forward(self, z: Tensor, *conditions: Tensor) -> Tensor:
        samples: Tensor = torch.sin(z @ self.mixture).unflatten(1, self.signature.output.shape)
        return samples


def checks(registry: Registry, entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a metric."""
    case = cache(lambda: _case(registry, entry, sets))
    yield Check("build", lambda: _built(case()), vital=True)
    yield Check("figures", lambda: figures(case()), vital=True)
    yield Check("repeat", lambda: repeat(case()))
    yield Check("input", lambda: untouched(case()))
    yield Check("reference", lambda: reference(case()))
    yield Check("better", lambda: better(case()))


def _built(case: _Case) -> str:
    return f"on {case.metric.dataset.spec.name}"


def _case(registry: Registry, entry: Entry, sets: Sequence[str]) -> _Case:
    """Return the metric made for the first data set that it takes: random data, one that asks for it, one beside it."""
    settings, cls = build_settings(entry, sets), entry.spec.load()
    with suppress(UserError):  # a metric may need more
        few = {**settings.model_dump(), "samples": SAMPLES}
        settings = validate(type(settings), "metric", few)
    refusal = ""
    for dataset in _datasets(registry, entry):
        domains = [field for field in dataset.spec.fields if isinstance(field, Image)]
        given = domains[:1] if len(domains) > 1 else [*dataset.spec.fields[1:]]
        sample = domains[1] if len(domains) > 1 else dataset.spec.sample
        try:
            metric: Metric = cls(settings, dataset)
            latents = () if len(domains) > 1 else (Latent((4,)),)
            signature = Signature((*latents, *given), sample.scaled((-1.0, 1.0)))
            metric.check(signature)
            metric.prepare(quiet=True)
        except UserError as error:
            refusal = str(error)
            continue
        batch = {
            name: values.float() if values.dtype == torch.uint8 else values
            for name, values in dataset.examples(SAMPLES).items()
        }
        sampler = TorchSampler(_Waves(signature), {"signature": signature.to_json()}) if signature.drawn else None
        return _Case(metric, batch[sample.name], {field.name: batch[field.name] for field in given}, sampler)
    raise Skip(f"it takes none of the data sets that it is tried on: {refusal}")


def _datasets(registry: Registry, entry: Entry) -> Iterator[Dataset]:
    image = Image(1, 8, 8, range=(0, 255))
    yield random_data(image, Label(10))
    yield random_data(image, Attributes(2, examples=((0.0, 1.0),)))
    yield random_data(*(Image(3, 8, 8, (0, 255), name) for name in ("a", "b")))
    yield random_data(Points(2), Label(3))
    yield random_data(Image(3, 32, 32, range=(0, 255)), Label(10))
    yield random_data(Tokens(8, 12))
    # A third party's data set is no matter of this metric, whatever its name.
    near = [each for each in registry.specs("dataset") if each.distribution in (BUNDLED, entry.distribution)]
    own = entry.distribution if entry.distribution != BUNDLED else ""  # ours are many, and large
    for asks in (True, False):
        for offered in near:
            with suppress(UserError, Skip), offline():
                cls = offered.spec.load()
                if asks == (entry.spec.key in cls.metrics) and (asks or offered.distribution == own):
                    yield cls(build_settings(offered, ()))


def figures(case: _Case) -> None:
    """It returns finite numbers by name, with a condition and, unless it needs one, without."""
    conditions = [case.condition] if case.metric.conditional else [case.condition, {}]
    for condition in conditions:
        found: Any = case.figures(condition)
        if not isinstance(found, dict) or not found:
            raise Fault(f"it returns {_said(found)}; a metric returns its figures by name, a dict of numbers")
        _numbers(found, "")


def _numbers(found: Mapping[Any, Any], of: str) -> None:
    for name, value in found.items():
        if not isinstance(name, str):
            raise Fault(f"the name of a figure{of} is {name!r}, not a string")
        if type(value) not in (float, int):
            raise Fault(f"the figure {name!r}{of} is {_said(value)}; return a number, float(...)")
        if not isfinite(value):
            raise Fault(f"the figure {name!r}{of} is {value} for real samples")


def _said(value: object) -> str:
    return "nothing" if value is None or value == {} else f"a {type(value).__name__}"


def repeat(case: _Case) -> None:
    """The same samples get the same figures, and torch's random state is left alone."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = case.figures()
    if not torch.equal(state, torch.get_rng_state()):
        raise Fault("it draws from torch's global random state, and so changes a training; take a torch.Generator")
    torch.manual_seed(1)
    second = case.figures()
    different = [name for name, value in first.items() if second.get(name) != value]
    if different or first.keys() != second.keys():
        name = (different or [*second.keys() - first.keys()])[0]
        raise Fault(f"the figure {name!r} of the same samples is {first.get(name)}, then {second.get(name)}")


def untouched(case: _Case) -> None:
    """It changes neither the samples nor the condition: other metrics get the same."""
    samples = case.samples.clone()
    condition = {name: values.clone() for name, values in case.condition.items()}
    case.metric(samples, condition)
    if not torch.equal(samples, case.samples):
        raise Fault("it changes the samples that it is given; work on a copy")
    if any(not torch.equal(condition[name], values) for name, values in case.condition.items()):
        raise Fault("it changes the condition that it is given; work on a copy")


def reference(case: _Case) -> None:
    """What real samples get are finite numbers, by the same names."""
    known = case.figures()
    found: Any = case.metric.reference()
    if not isinstance(found, dict):
        raise Fault(f"reference() returns {_said(found)}; it returns figures by name, {{}} where they are unknown")
    _numbers(found, " of the reference")
    if extra := found.keys() - known.keys():
        raise Fault(f"the reference has a figure {min(extra)!r}, and samples get {', '.join(map(repr, known))}")


def better(case: _Case) -> None:
    """``better`` names figures that there are, and a direction that there is."""
    names = {name.rpartition("/")[2] for name in case.figures()}
    probes = type(case.metric).probe is not Metric.probe  # which may find more in some models than in this one
    for name, direction in case.metric.better.items():
        if direction not in get_args(Direction):
            raise Fault(f"better[{name!r}] is {direction!r}, not one of {', '.join(map(repr, get_args(Direction)))}")
        if name and name not in names and not probes:
            raise Fault(f"better names the figure {name!r}, and there are {', '.join(map(repr, sorted(names)))}")
