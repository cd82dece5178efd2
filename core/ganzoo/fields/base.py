"""What all kinds of fields have in common, and what each of them answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.errors import UserError
from ganzoo.fields import drawing
from ganzoo_runtime.errors import ModelError
from ganzoo_runtime.fields import check_field, kind_of, stored

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Field", "outside"]


class Field(ABC):
    """One input or output of a network: its ``name``, and what its values are; ``shape`` is without the batch.

    A kind of field is a frozen dataclass; ``kind`` is what files call it: the key of its spec where a plugin adds it.
    Raises :class:`~ganzoo.UserError` for what a file of the network could not say: the rules are those that the runtime
    reads files by, and a plugin's kind is to it a plain array.

    A kind has to say :meth:`describe`, :meth:`to_json` and :meth:`from_json`; everything else has a default, which
    suits float32 numbers without a range that a data set holds as a network sees them.
    """

    kind: ClassVar[str]
    shown: ClassVar[int] = 64
    """Samples in a picture."""
    rows: ClassVar[int] = 0
    """Rows of a picture whose columns are classes; 0 if it is not laid out in columns."""

    if TYPE_CHECKING:  # a dataclass would take a property that it inherits for the default of its own entry

        @property
        def name(self) -> str: ...  # noqa: D102

        @property
        def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def __post_init__(self) -> None:
        try:
            check_field(self.to_json())
        except ModelError as error:
            raise UserError(str(error)) from None

    @property
    def dtype(self) -> str:
        """The type of its numbers, as NumPy calls it."""
        return "float32"

    @abstractmethod
    def describe(self) -> str:
        """Return what the field is, in words: ``"images, 28 x 28, grey"``."""

    def to_json(self) -> dict[str, Any]:
        """Return the field as plain data: its kind, name, dtype and shape; a kind that knows more adds it."""
        return {"kind": self.kind, "name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    @abstractmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Return the field that :meth:`to_json` wrote, whose name and shape have been read already.

        For anything else it may raise KeyError, TypeError, ValueError or OverflowError.
        """

    # How data sets hold it, and how networks see it

    @property
    def data_dtype(self) -> str:
        """The type of its numbers in a batch of a data set."""
        return self.dtype

    def scaled(self, pixel_range: tuple[float, float]) -> Field:
        """Return a data set's field as networks see it; ``pixel_range`` is what images are scaled to."""
        return self

    def encode(self, batch: Tensor) -> Tensor:
        """Return a data set's batch [N, ...] as this field of a network, on the batch's device."""
        return batch

    def decode(self, values: Tensor) -> Tensor:
        """Return values of this field of a network, [N, ...], as the data set holds them: the reverse of encode."""
        return values

    # As an input, and in checks

    @property
    def drawn(self) -> bool:
        """Whether samples can be drawn from it without being given it."""
        return kind_of({"kind": self.kind}).drawn

    @property
    def combinations(self) -> int:
        """How many values take turns where all of them are drawn; 1 of what is drawn at random."""
        return 1

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return values for checks and calibration, [N, *shape] for samples of these numbers, int64 [N]."""
        return random.standard_normal((len(index), *self.shape), dtype=np.float32)

    def fault(self, values: NDArray[Any]) -> str:
        """Return what values [N, *shape] have that they should not; empty if they are right.

        They are a data set's or what a network returns: of the right shape and dtype, and finite.
        """
        return ""

    def span(self, values: NDArray[Any]) -> float:
        """Return what differences of such values are relative to: their range, or at least 1 where there is none."""
        return max(1.0, float(np.abs(values).max()))

    def packed(self, count: int) -> Field:
        """Return the field of so many samples joined along their first axis.

        Raises :class:`~ganzoo.UserError` where that is no field of this kind.
        """
        raise UserError(f"{self.describe()} cannot be packed for a discriminator; take pack=1")

    # As samples

    def picture(
        self, samples: NDArray[Any], real: NDArray[Any] | None = None, columns: int | None = None
    ) -> NDArray[np.uint8]:
        """Draw samples [N, *shape] into one image, uint8 [H, W, C] with C of 1, 3 or 4.

        ``real`` are samples of the data as a network sees them, to compare with; with ``rows``, ``columns`` are
        classes. By default numbers are drawn as lines, one panel a sample.
        """
        return drawing.lines(samples.reshape(len(samples), 1, -1), columns)

    def stored(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples [N, *shape] as files hold them, [N, ...]; with named columns it is a structured array.

        What is stored already, it returns as it is.
        """
        return stored(samples, self.to_json())


def outside(values: NDArray[Any], range: tuple[float, float]) -> str:
    """Return that values are outside of the range, as the object of a sentence; empty if none is."""
    low, high = range
    margin, found = 1e-4 * (high - low), (float(values.min()), float(values.max()))
    if found[0] >= low - margin and found[1] <= high + margin:
        return ""
    return f"values from {found[0]:.3g} to {found[1]:.3g}, and its signature says {low:g} to {high:g}"
