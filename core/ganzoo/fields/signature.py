"""A network's inputs and its output, and how they are written to files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.errors import UserError
from ganzoo.fields.attributes import Attributes
from ganzoo.fields.base import Field
from ganzoo.fields.image import Image, Mask
from ganzoo.fields.label import Label
from ganzoo.fields.latent import Latent
from ganzoo.fields.plain import Plain
from ganzoo.fields.points import Points
from ganzoo.fields.scores import Scores
from ganzoo.fields.sequence import Sequence
from ganzoo.fields.styles import Styles, Truncation
from ganzoo.fields.table import Table
from ganzoo.fields.tokens import Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Signature", "field_from_json"]

_BUNDLED = (Latent, Truncation, Styles, Label, Attributes, Image, Mask, Points, Sequence, Tokens, Table, Scores)
_KINDS: dict[str, type[Field]] = {cls.kind: cls for cls in _BUNDLED}


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

    @property
    def drawn(self) -> bool:
        """Whether samples can be drawn from the inputs without being given any of them."""
        return all(field.drawn for field in self.inputs)

    @property
    def conditions(self) -> tuple[Field, ...]:
        """The inputs that say what is asked for: all but those that a sample starts from, latents and styles."""
        return tuple(field for field in self.inputs if not isinstance(field, Latent | Truncation | Styles))

    def examples(self, n: int, seed: int = 0) -> list[NDArray[Any]]:
        """Return ``n`` of each input for checks and calibration, [n, ...], as the fields describe them.

        All combinations of classes take turns; what else there is, is random.
        """
        random = np.random.Generator(np.random.Philox(seed))
        index = rest = np.arange(n, dtype=np.int64)
        arrays = []
        for field in self.inputs:
            arrays.append(field.example(random, rest if field.combinations > 1 else index))
            rest = rest // field.combinations
        return arrays

    def to_json(self) -> dict[str, Any]:
        """Return the signature as plain lists, dicts, strings and numbers; :meth:`from_json` reads it back."""
        return {"inputs": [field.to_json() for field in self.inputs], "output": self.output.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        """Read what :meth:`to_json` wrote; raises :class:`UserError` on anything else."""
        try:
            inputs, output = data["inputs"], data["output"]
            return cls(tuple(field_from_json(field) for field in inputs), field_from_json(output))
        except (KeyError, TypeError) as error:
            raise UserError(f"not a signature: {error}") from None


def field_from_json(data: Mapping[str, Any]) -> Field:
    """Read what :meth:`Field.to_json` wrote; raises :class:`UserError` on anything else.

    A kind that is not bundled is looked for among those that plugins add; one that is not installed is a
    :class:`~ganzoo.fields.plain.Plain` array.
    """
    try:
        name, shape, kind = str(data["name"]), tuple(int(size) for size in data["shape"]), data["kind"]
        return _class_of(kind).from_json(data, name, shape)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError(f"not a field of a signature: {str(data)[:200]}") from None


def _class_of(kind: str) -> type[Field]:
    if kind in _KINDS:
        return _KINDS[kind]
    # By the public door: plugins are made of fields, and fields ask for plugins where a file names a kind of theirs.
    registry = import_module("ganzoo").load_registry()
    if any(kind in (entry.spec.key, entry.name) for entry in registry.specs("field")):
        found: type[Field] = registry.get("field", kind).spec.load()
        return found
    own = [cls for cls in _subclasses(Field) if getattr(cls, "kind", None) == kind]  # type: ignore[type-abstract]
    return own[-1] if own else Plain  # a program's own, which no plugin offers, or what is not installed


def _subclasses(cls: type[Field]) -> list[type[Field]]:
    return [each for known in cls.__subclasses__() for each in (known, *_subclasses(known))]
