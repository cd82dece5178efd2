"""Data sets, and the infinite, seeded, resumable stream of batches that training draws from."""

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.utils.data import DataLoader

from ganzoo.errors import UserError
from ganzoo.signature import Attributes, Field, Label, field_from_json, field_to_json

__all__ = ["Batch", "DataSpec", "Dataset", "DatasetConfig", "Stream", "TensorDataset"]

Batch = dict[str, Tensor]
"""Tensors by field name, batch first: ``{"x": images, "y": labels}``."""


@dataclass(frozen=True)
class DataSpec:
    """What a data set yields: its fields by name, the sample itself first.

    Images come as uint8 NCHW with range ``(0, 255)``; a trainer scales them to the range that it works in. Two
    domains are two image fields, ``a`` and ``b``, and ``paired`` says whether they come in pairs.
    """

    name: str
    fields: tuple[Field, ...]
    size: int
    paired: bool = True

    def __getitem__(self, name: str) -> Field:
        """Return the field of that name; raises KeyError if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(field.name == name for field in self.fields)

    @property
    def sample(self) -> Field:
        """The field that a generator learns to draw: the first one."""
        return self.fields[0]

    @property
    def conditions(self) -> tuple[Label | Attributes, ...]:
        """The fields that a conditional model is told; raises :class:`UserError` if there are none."""
        found = tuple(field for field in self.fields[1:] if isinstance(field, Label | Attributes))
        if not found:
            raise UserError(
                f"a conditional model learns from labels or attributes, and {self.name} has none; choose other data, "
                "or a model without a condition"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain data; :meth:`from_json` reads it back."""
        fields = [field_to_json(field) for field in self.fields]
        return {"name": self.name, "size": self.size, "paired": self.paired, "fields": fields}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DataSpec":
        """Read what :meth:`to_json` wrote; raises :class:`UserError` on anything else."""
        try:
            fields = tuple(field_from_json(field) for field in data["fields"])
            return cls(str(data["name"]), fields, int(data["size"]), bool(data["paired"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"not the description of a data set: {error}") from None


class DatasetConfig(BaseModel):
    """Base of the settings of a data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dataset(ABC):
    """A finite set of samples that can be gathered by index.

    A subclass sets ``spec`` when it is made and implements :meth:`batch`. ``metrics`` names the metrics that are
    computed on it while training unless the user says otherwise, and ``regularizers`` settings that suit it (key to
    settings), which apply to regularisers that are used anyway. ``in_memory`` tells the stream that gathering is
    cheap; otherwise worker processes do it.
    """

    Config: ClassVar[type[DatasetConfig]] = DatasetConfig
    metrics: ClassVar[tuple[str, ...]] = ()
    regularizers: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    in_memory: bool = True
    spec: DataSpec

    def __len__(self) -> int:
        return self.spec.size

    @abstractmethod
    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Return the samples of these indices, int64 [N], on the CPU; augmentation draws from ``rng`` alone."""

    def examples(self, n: int) -> Batch:
        """Return up to ``n`` samples, always the same, that networks which take images are shown and judged with.

        By default they are spread over the whole set; a data set that holds some out for this gives those.
        """
        rows = torch.linspace(0, len(self) - 1, min(n, len(self))).long()
        return self.batch(rows, torch.Generator().manual_seed(0))

    @property
    def known_pairs(self) -> bool:
        """Whether the images of two domains among the :meth:`examples` belong together, row by row."""
        return self.spec.paired


class TensorDataset(Dataset):
    """A data set whose tensors, one a field, lie in memory (images as uint8 NCHW)."""

    def __init__(self, spec: DataSpec, tensors: Mapping[str, Tensor]) -> None:
        if [field.name for field in spec.fields] != list(tensors):
            raise ValueError(f"the fields {[field.name for field in spec.fields]} and tensors {list(tensors)} differ")
        for field in spec.fields:
            expected = (spec.size, *field.shape)
            if tuple(tensors[field.name].shape) != expected:
                raise ValueError(f"{field.name!r} is {tuple(tensors[field.name].shape)}, its spec says {expected}")
        self.spec = spec
        self.tensors = dict(tensors)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Gather the rows; nothing is random."""
        return {name: tensor.index_select(0, indices) for name, tensor in self.tensors.items()}


class Stream(Iterator[Batch]):
    """Endless batches of a data set in an order that the seed alone decides.

    Epoch after epoch is a fresh permutation, laid end to end and cut into batches, so that no sample is dropped and a
    data set may be smaller than a batch. ``position`` counts the batches handed out and is all there is to resume:
    batch ``k`` is the same whether the stream was read from the start or entered there, with or without workers.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, position: int = 0, workers: int = 0) -> None:
        if len(dataset) < 1 or batch_size < 1:
            raise UserError(f"cannot draw batches of {batch_size} from {len(dataset)} samples")
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.position = position
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)
        self._loader: Iterator[Batch | UserError] | None = None
        if workers and not dataset.in_memory:
            loader: DataLoader[Batch | UserError] = DataLoader(
                _Fetch(self),  # type: ignore[arg-type]
                sampler=_CountFrom(position),
                batch_size=None,
                num_workers=workers,
                persistent_workers=True,
                worker_init_fn=_leave_signals_to_the_parent,
                # Its own generator: making the loader must not move the global one, which a resume restores.
                generator=torch.Generator().manual_seed(seed),
            )
            with _signals_held():
                self._loader = iter(loader)

    def __next__(self) -> Batch:
        batch = next(self._loader) if self._loader is not None else self.fetch(self.position)
        if isinstance(batch, UserError):
            raise batch
        self.position += 1
        return batch

    def fetch(self, position: int) -> Batch:
        """Return batch number ``position``, without moving the stream."""
        rng = torch.Generator().manual_seed(_mix(self.seed, position, 1))
        return self.dataset.batch(self._indices(position), rng)

    def _indices(self, position: int) -> Tensor:
        size, wanted, start = len(self.dataset), self.batch_size, position * self.batch_size
        parts = []
        while wanted:
            epoch, offset = divmod(start, size)
            if epoch != self._epoch:
                rng = torch.Generator().manual_seed(_mix(self.seed, epoch, 0))
                self._permutation, self._epoch = torch.randperm(size, generator=rng), epoch
            parts.append(self._permutation[offset : offset + wanted])
            start, wanted = start + len(parts[-1]), wanted - len(parts[-1])
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Fetch:
    """A map from batch numbers to batches, for the loader's workers."""

    def __init__(self, stream: Stream) -> None:
        self.stream = Stream(stream.dataset, stream.batch_size, stream.seed)

    def __getitem__(self, position: int) -> Batch | UserError:
        try:
            return self.stream.fetch(position)
        except UserError as error:
            # Handed over as it is: the loader would put the worker's traceback in place of the one clear sentence.
            return error


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back the signals that end a training, so that they do not meet a worker before it is ready for them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Keep a data worker alive when a terminal or a scheduler sends a signal to every process of a training.

    The parent finishes its step, for which it needs the data, and ends its workers itself: by a message or, if that
    takes too long, by a SIGTERM, which is the only one that counts. A worker whose parent was killed ends by itself
    within seconds: torch watches out for that.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if not hasattr(signal, "sigwaitinfo") or parent is None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return

    def wait() -> None:
        while signal.sigwaitinfo((signal.SIGTERM,)).si_pid != parent.pid:
            pass
        os._exit(0)

    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    threading.Thread(target=wait, daemon=True).start()


class _CountFrom:
    """The numbers from ``start`` on, for ever."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        position = self.start
        while True:
            yield position
            position += 1


def _mix(seed: int, number: int, purpose: int) -> int:
    """Return a 63-bit seed that differs for every (seed, number, purpose); SplitMix64's finaliser."""
    value = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + purpose * 0x94D049BB133111EB + 1) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> shift)) * factor % 2**64
    return (value ^ (value >> 31)) >> 1
