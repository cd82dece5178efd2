"""Checks of data sets."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ganzoo.data.dataset import Dataset, DataSpec, content_hash
from ganzoo.data.stream import Stream
from ganzoo.errors import UserError
from ganzoo.fields import Image
from ganzoo.plugin.registry import Entry, Registry
from ganzoo.testing.general import build_settings
from ganzoo.testing.results import Check, Fault, Skip
from ganzoo_runtime.text import counted

__all__ = ["checks", "offline"]


def checks(registry: Registry, entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a data set."""

    def build() -> Dataset:
        with offline():
            built: Dataset = entry.spec.load()(build_settings(entry, sets))
        return built

    dataset = cache(build)
    yield Check("build", lambda: _build(dataset), vital=True)
    yield Check("spec", lambda: spec(registry, dataset()), vital=True)
    yield Check("batches", lambda: batches(dataset()), vital=True)
    yield Check("randomness", lambda: randomness(dataset()))
    yield Check("rows", lambda: rows(dataset()))
    yield Check("order", lambda: order(dataset()))
    yield Check("resume", lambda: resume(dataset()))
    yield Check("workers", lambda: workers(dataset()))
    yield Check("content", lambda: content(build))


def _build(dataset: Callable[[], Dataset]) -> None:
    try:
        dataset()
    except UserError as error:
        raise Skip(f"it cannot be made here: {error}") from None


def spec(registry: Registry, dataset: Dataset) -> None:
    """The spec has fields with names of their own, the data set's length, and reads back from a run's config.toml."""
    if not isinstance(getattr(dataset, "spec", None), DataSpec):
        raise Fault("it has no spec: a data set sets self.spec, a ganzoo.DataSpec, when it is made")
    names = [field.name for field in dataset.spec.fields]
    if not names or len(set(names)) < len(names):
        raise Fault(f"the fields of a data set have names of their own, not {names}")
    if len(dataset) != dataset.spec.size or len(dataset) < 1:
        raise Fault(f"its spec says {counted(dataset.spec.size, 'sample')}, its length is {len(dataset)}")
    if DataSpec.from_json(json.loads(json.dumps(dataset.spec.to_json()))) != dataset.spec:
        raise Fault("its spec, written to a run folder and read back, is not the same")
    for field in dataset.spec.fields:
        if isinstance(field, Image) and field.range != (0, 255):
            raise Fault(f"the image {field.name!r} has the range {field.range}; a data set's images are 0..255")
    for metric in dataset.metrics:
        registry.get("metric", metric)


def batches(dataset: Dataset) -> None:
    """Batches have the fields, shapes, dtypes and value ranges of the spec; any index works, and any number of them."""
    size = len(dataset)
    for indices in ([0], [size - 1, 0, size - 1], [index % size for index in range(64)]):
        batch = dataset.batch(torch.tensor(indices), _rng())
        if fault := dataset.spec.fault(batch, len(indices)):
            raise Fault(f"a batch {fault}")
        for field in dataset.spec.fields:
            tensor = batch[field.name]
            if not bool(tensor.isfinite().all()):
                raise Fault(f"{field.name!r} has values that are not finite")
            if fault := field.fault(tensor.numpy()):
                raise Fault(f"{field.name!r} has {fault}")


def randomness(dataset: Dataset) -> None:
    """The same indices and generator give the same batch, no other randomness counts, and a batch is the caller's."""
    indices = torch.arange(8) % len(dataset)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = {name: tensor.clone() for name, tensor in dataset.batch(indices, _rng()).items()}
    if not torch.equal(before, torch.get_rng_state()):
        raise Fault("batch() draws from torch's global random state; it gets a generator for that")
    torch.manual_seed(1)
    _differ(first, dataset.batch(indices, _rng()), "the same indices and generator give another batch the second time")
    for tensor in dataset.batch(indices, _rng()).values():
        tensor.zero_()
    _differ(first, dataset.batch(indices, _rng()), "changing a batch in place changes the data set; return a copy")


def rows(dataset: Dataset) -> None:
    """What training may gather from in place of batch() gives the same samples."""
    found = dataset.rows
    if found is None:
        raise Skip("it makes its batches itself")
    expected = {field.name: len(dataset) for field in dataset.spec.fields}
    if (counts := {name: len(tensor) for name, tensor in found.items()}) != expected:
        raise Fault(f"its rows are {counts}, its spec says {expected}")
    indices = torch.arange(64) % len(dataset)
    gathered = {name: tensor[indices] for name, tensor in found.items()}
    _differ(dataset.batch(indices, _rng()), gathered, "its rows are not what batch() gives; return None")


def order(dataset: Dataset) -> None:
    """An epoch has each sample once, and so has an order of some, which the generator alone decides."""
    some = torch.arange(0, len(dataset), 3)
    for rows, wanted in ((None, torch.arange(len(dataset))), (some, some)):
        found = dataset.order(_rng(), rows)
        if not torch.equal(found.sort().values, wanted):
            raise Fault("its order() does not have each of the indices once")
        if not torch.equal(found, dataset.order(_rng(), rows)):
            raise Fault("the same generator gives another order() the second time")


def resume(dataset: Dataset) -> None:
    """A stream entered in the middle goes on as one read from the start."""
    whole, entered = Stream(dataset, 5, seed=3), Stream(dataset, 5, seed=3, position=2)
    read = [next(whole) for _ in range(4)]
    for batch in read[2:]:
        _differ(batch, next(entered), "a stream entered at batch 2 does not go on as one read from the start")


def workers(dataset: Dataset) -> None:
    """A data set that worker processes read can be sent to them."""
    if dataset.in_memory:
        raise Skip("it lies in memory, so that no worker processes read it")
    try:
        copied = pickle.loads(pickle.dumps(dataset))
    except Exception as error:
        raise Fault(f"it cannot be pickled, as worker processes need: {error}") from None
    indices = torch.arange(3) % len(dataset)
    _differ(dataset.batch(indices, _rng()), copied.batch(indices, _rng()), "its pickled copy gives another batch")


def content(build: Callable[[], Dataset]) -> None:
    """What a resumed run compares is something, and the same when the data set is made again."""
    first = build()  # not what other checks have read; and of two in succession, random ones differ
    sizes = set[int]()
    for part in first.content():
        if not isinstance(part, Tensor | bytes):
            raise Fault(f"its content() yields {type(part).__name__}, neither tensors nor bytes")
        sizes.add(part.numel() if isinstance(part, Tensor) else len(part))
    if not any(sizes):
        raise Fault("its content() is empty, so that a run could be resumed on any other data")
    if content_hash(first) != content_hash(build()):
        raise Fault("made again it has another content(), so that no run on it could be resumed")


@contextmanager
def offline() -> Iterator[None]:
    """While entered, connections of this process fail at once: a check downloads nothing."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("checks download nothing")

    connect, look_up = socket.socket.connect, socket.getaddrinfo
    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = refuse
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.getaddrinfo = look_up


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _differ(expected: dict[str, Tensor], found: dict[str, Tensor], sentence: str) -> None:
    if any(not torch.equal(tensor, found[name]) for name, tensor in expected.items()):
        raise Fault(sentence)
