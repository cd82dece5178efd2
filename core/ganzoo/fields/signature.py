"""A network's inputs and its output, and how they are written to files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganzoo.errors import UserError
from ganzoo.fields.attributes import Attributes
from ganzoo.fields.base import Field
from ganzoo.fields.image import Image, Mask
from ganzoo.fields.label import Label
from ganzoo.fields.latent import Latent
from ganzoo.fields.points import Points
from ganzoo.fields.scores import Scores

__all__ = ["Signature", "field_from_json"]

_KINDS: dict[str, type[Field]] = {cls.kind: cls for cls in (Latent, Label, Attributes, Image, Mask, Points, Scores)}


@dataclass(frozen=True)
class Signature:
    """A network's inputs, in the order of its ``forward``, and its output.

    Raises :class:`UserError` where two inputs share a name.
    """

    inputs: tuple[Field, ...]
    output: Field

    def __post_init__(self) -> None:
        names = [field.name for field in self.inputs]
        if len(set(names)) < len(names):
            raise UserError(f"the inputs of a signature need names of their own, not {names}")

    def to_json(self) -> dict[str, Any]:
        """Return the signature as plain lists, dicts, strings and numbers; :meth:`from_json` reads it back."""
        return {"inputs": [field.to_json() for field in self.inputs], "output": self.output.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Signature":
        """Read what :meth:`to_json` wrote; raises :class:`UserError` on anything else."""
        try:
            inputs, output = data["inputs"], data["output"]
            return cls(tuple(field_from_json(field) for field in inputs), field_from_json(output))
        except (KeyError, TypeError) as error:
            raise UserError(f"not a signature: {error}") from None


def field_from_json(data: Mapping[str, Any]) -> Field:
    """Read what :meth:`Field.to_json` wrote; raises :class:`UserError` on anything else."""
    try:
        name, shape, kind = str(data["name"]), tuple(int(size) for size in data["shape"]), data["kind"]
        if kind in _KINDS:
            return _KINDS[kind].from_json(data, name, shape)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError(f"not a field of a signature: {str(data)[:200]}") from None
    raise UserError(f"unknown kind of field {kind!r}; there is: {', '.join(_KINDS)}")
