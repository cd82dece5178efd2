"""Data sets: finite sets of training samples, gathered by index."""

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from typing_extensions import TypeVar

from ganzoo.configured import Configured
from ganzoo.errors import UserError
from ganzoo.fields import Attributes, Field, Label, field_from_json

__all__ = ["Batch", "DataSpec", "Dataset", "DatasetConfig", "TensorDataset", "content_hash"]

_SPREAD = 64  # samples that stand for all where these are not in memory

Batch = dict[str, Tensor]
"""Tensors by field name, batch first: ``{"x": images, "y": labels}``."""


@dataclass(frozen=True)
class DataSpec:
    """What a data set yields: its fields by name, the sample itself first.

    Images come as uint8 NCHW with range ``(0, 255)``; a trainer scales them to the range that it works in. Two
    domains are two image fields, ``a`` and ``b``, and ``paired`` says whether they come in pairs. A run notes with it
    what ``content`` the data had, a hash; empty where that follows from the settings.
    """

    name: str
    fields: tuple[Field, ...]
    size: int
    paired: bool = True
    content: str = dataclasses.field(default="", compare=False)

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
        """The fields that a conditional model is given; raises :class:`UserError` if there are none."""
        found = tuple(field for field in self.fields[1:] if isinstance(field, Label | Attributes))
        if not found:
            raise UserError(
                f"a conditional model learns from labels or attributes, and {self.name} has none; choose other data, "
                "or a model without a condition: some are with --set model.conditional=false"
            )
        return found

    def fault(self, batch: object, n: int) -> str:
        """Return why this is no batch of ``n`` samples, as the rest of a sentence about it, or nothing."""
        if not isinstance(batch, Mapping):
            return f"is a {type(batch).__name__}, not a dict of tensors by the names of fields"
        if list(batch) != [field.name for field in self.fields]:
            return f"has the fields {list(batch)}, the spec {[field.name for field in self.fields]}"
        for field in self.fields:
            tensor, promised = batch[field.name], [n, *field.shape]
            if not isinstance(tensor, Tensor):
                return f"has a {type(tensor).__name__} in {field.name!r}, not a tensor"
            if list(tensor.shape) != promised or str(tensor.dtype) != f"torch.{field.data_dtype}":
                return (
                    f"has {tensor.dtype} {list(tensor.shape)} in {field.name!r}, "
                    f"its spec says torch.{field.data_dtype} {promised}"
                )
            if tensor.device.type != "cpu":
                return f"has {field.name!r} on {tensor.device}; batches are on the CPU"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain data; :meth:`from_json` reads it back."""
        content = {"content": self.content} if self.content else {}
        fields = [field.to_json() for field in self.fields]
        return {"name": self.name, "size": self.size, "paired": self.paired, **content, "fields": fields}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DataSpec":
        """Read what :meth:`to_json` wrote; raises :class:`UserError` on anything else."""
        try:
            fields = tuple(field_from_json(field) for field in data["fields"])
            content = str(data.get("content", ""))
            return cls(str(data["name"]), fields, int(data["size"]), bool(data["paired"]), content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"not the description of a data set: {error}") from None


class DatasetConfig(BaseModel):
    """Base of the settings of a data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=DatasetConfig, default=DatasetConfig, covariant=True)


class Dataset(Configured[Settings], ABC):
    """A finite set of samples that can be gathered by index.

    A subclass, ``Dataset[ItsConfig]``, sets ``spec`` when it is made and implements :meth:`batch`. ``metrics`` names
    the metrics that are computed during training unless the user chooses others. ``regularizers`` are settings that
    suit the data (key to settings); they apply to regularizers that are used for other reasons, and add none.
    ``in_memory`` says that gathering is cheap; otherwise worker processes do it.
    """

    metrics: ClassVar[tuple[str, ...]] = ()
    regularizers: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    in_memory: bool = True
    spec: DataSpec

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # A subclass that makes its batches anew does not have its base's rows, unless it says so.
        if "batch" in vars(cls) and "rows" not in vars(cls):
            cls.rows = Dataset.rows  # type: ignore[method-assign]

    def __len__(self) -> int:
        return self.spec.size

    @abstractmethod
    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Return the samples of these indices, int64 [N], on the CPU; augmentation draws from ``rng`` alone."""

    @property
    def rows(self) -> Batch | None:
        """All samples in order, where a batch is rows of these tensors and nothing else; otherwise None.

        If the data is in memory, training gathers batches from them, on the device if they fit there, and does not
        call :meth:`batch`. A data set that crops, mirrors or changes samples in any other way has none.
        """
        return None

    @property
    def known(self) -> Batch:
        """The labels and attributes of all samples by the names of their fields, where no sample has to be read."""
        named = [field.name for field in self.spec.fields[1:] if isinstance(field, Label | Attributes)]
        rows = self.rows or {}
        return {name: rows[name] for name in named if name in rows}

    def content(self) -> Iterator[Tensor | bytes]:
        """Yield what differs where the samples or their order do; a resumed run compares its hash.

        By default these are the :attr:`rows`, or else what is known of all samples, and some that are spread over the
        set. A data set of files that are decoded yields their bytes, as libraries decode them differently.
        """
        rows = self.rows
        some = torch.Generator().manual_seed(0)
        parts = [rows] if rows is not None else [self.known, self.batch(self.spread(_SPREAD), some)]
        for part in parts:
            yield from part.values()

    def order(self, rng: torch.Generator, rows: Tensor | None = None) -> Tensor:
        """Return the indices of all samples, or those in ``rows``, int64 [N], in a random order that ``rng`` decides.

        Training takes an epoch in this order, and metrics their samples. Every order is as likely as any other, unless
        a data set that cannot be read quickly at any place says another way to draw one.
        """
        order = torch.randperm(len(self) if rows is None else len(rows), generator=rng)
        return order if rows is None else rows[order]

    def spread(self, n: int) -> Tensor:
        """Return the indices of up to ``n`` samples, int64, always the same, that stand for all."""
        return torch.linspace(0, len(self) - 1, min(n, len(self))).long()

    def examples(self, n: int) -> Batch:
        """Return up to ``n`` samples, always the same, that networks which take images are shown and evaluated with.

        By default they are spread over the whole set; a data set that holds some out for this gives those.
        """
        return self.batch(self.spread(n), torch.Generator().manual_seed(0))

    @property
    def known_pairs(self) -> bool:
        """Whether the images of two domains among the :meth:`examples` belong together, row by row."""
        return self.spec.paired


class TensorDataset(Dataset[Settings]):
    """A data set whose tensors, one a field, lie in memory (images as uint8 NCHW)."""

    def __init__(self, spec: DataSpec, tensors: Mapping[str, Tensor]) -> None:
        if fault := spec.fault(tensors, spec.size):
            raise UserError(f"the data of {spec.name} {fault}")
        self.spec = spec
        self.tensors = dict(tensors)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Gather the rows; nothing is random."""
        return {name: tensor.index_select(0, indices) for name, tensor in self.tensors.items()}

    @property
    def rows(self) -> Batch | None:
        """The tensors."""
        return self.tensors


def content_hash(dataset: Dataset) -> str:
    """Return the sha256 of what :meth:`Dataset.content` yields, in hexadecimal digits."""
    found = hashlib.sha256()
    for part in dataset.content():
        block = part if isinstance(part, bytes) else part.contiguous().flatten().view(torch.uint8).numpy().data
        found.update(f"{len(block)} ".encode())
        found.update(block)
    return found.hexdigest()
