"""What all kinds of fields have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ganzoo.errors import UserError
from ganzoo_runtime.errors import ModelError
from ganzoo_runtime.fields import check_field

__all__ = ["Field"]


class Field(ABC):
    """One input or output of a network: its ``name``, and what its values are; ``shape`` is without the batch.

    A kind of field is a frozen dataclass; ``kind`` is what files call it. Raises :class:`~ganzoo.UserError` for what a
    file of the network could not say: the rules are those that the runtime reads files by.
    """

    kind: ClassVar[str]

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
