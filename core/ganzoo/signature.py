"""What goes into a network and what comes out, as data.

Sampling, ONNX export, the runtime, the commands and the conformance kit read the signature and know no network by
name. Shapes are without the batch dimension, images are NCHW, and everything is float32 except labels, which are int64.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Literal

from ganzoo.errors import UserError
from ganzoo.text import NAME, fits

__all__ = ["Attributes", "Field", "Image", "Label", "Latent", "Mask", "Points", "Scores", "Signature"]


@dataclass(frozen=True)
class Latent:
    """A random code: ``"normal"`` is N(0, 1), ``"uniform"`` is U(-1, 1), each element independent."""

    shape: tuple[int, ...]
    distribution: Literal["normal", "uniform"] = "normal"
    name: str = "z"

    kind: ClassVar[str] = "latent"
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        _check_shape(self.shape)
        if self.distribution not in ("normal", "uniform"):
            raise UserError(f"a latent is 'normal' or 'uniform', not {self.distribution!r}")


@dataclass(frozen=True)
class Label:
    """A class index in ``0 .. classes - 1``, with the classes' names if they have any."""

    classes: int
    names: tuple[str, ...] = ()
    name: str = "y"

    kind: ClassVar[str] = "label"
    dtype: ClassVar[str] = "int64"
    shape: ClassVar[tuple[int, ...]] = ()

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise UserError(f"a label needs at least one class, not {self.classes}")
        if self.names and len(self.names) != self.classes:
            raise UserError(f"{len(self.names)} names for {self.classes} classes")
        _check_names(self.names, "a class")


@dataclass(frozen=True)
class Attributes:
    """A real vector that describes a sample: several attributes at once.

    ``examples`` are a few vectors as the data has them, [dim] each; samples are drawn for them where none is asked for.
    """

    dim: int
    names: tuple[str, ...] = ()
    examples: tuple[tuple[float, ...], ...] = ()
    name: str = "y"

    kind: ClassVar[str] = "attributes"
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        _check_shape(self.shape)
        if self.names and len(self.names) != self.dim:
            raise UserError(f"{len(self.names)} names for {self.dim} attributes")
        _check_names(self.names, "an attribute")
        if any(len(row) != self.dim or not all(map(isfinite, row)) for row in self.examples):
            raise UserError(f"an example of these attributes has {self.dim} finite numbers")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(dim,)``."""
        return (self.dim,)


@dataclass(frozen=True)
class Image:
    """An image, CHW, with values in ``range``.

    With ``multiple``, a network works for any height and width that are multiples of it; ``height`` and ``width`` are
    then those of its training. With a ``layout`` it is not float32 but pixels, uint8 in 0..255, whose shape is in that
    order: what a file gives that was exported with them.
    """

    channels: int
    height: int
    width: int
    range: tuple[float, float] = (-1.0, 1.0)
    name: str = "x"
    multiple: int | None = None
    layout: Literal["", "NCHW", "NHWC"] = ""

    kind: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        _check_shape(self.shape)
        low, high = self.range
        if not (isfinite(low) and isfinite(high) and low < high):
            raise UserError(f"an image's range runs from a lower to a higher number, not {self.range}")
        _check_multiple(self.height, self.width, self.multiple)
        if self.layout not in ("", "NCHW", "NHWC"):
            raise UserError(f"the layout of pixels is 'NCHW' or 'NHWC', not {self.layout!r}")

    @property
    def dtype(self) -> str:
        """``"float32"``, or ``"uint8"`` with a layout."""
        return "uint8" if self.layout else "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, height, width)``, or ``(height, width, channels)`` with the layout NHWC."""
        size = (self.height, self.width)
        return (*size, self.channels) if self.layout == "NHWC" else (self.channels, *size)


@dataclass(frozen=True)
class Mask:
    """Which pixels of an image are missing, 1HW: 1 in the hole, 0 elsewhere. Drawn at random, it is one rectangle.

    ``multiple`` is that of the image.
    """

    height: int
    width: int
    name: str = "mask"
    multiple: int | None = None

    kind: ClassVar[str] = "mask"
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        _check_shape(self.shape)
        _check_multiple(self.height, self.width, self.multiple)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(1, height, width)``."""
        return (1, self.height, self.width)


@dataclass(frozen=True)
class Points:
    """A point in the ``dim``-dimensional plane; values are unbounded."""

    dim: int
    name: str = "x"

    kind: ClassVar[str] = "points"
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        _check_shape(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(dim,)``."""
        return (self.dim,)


@dataclass(frozen=True)
class Scores:
    """A discriminator's raw scores (logits), one or a map of them a sample: no sigmoid inside."""

    shape: tuple[int, ...] = ()
    name: str = "score"

    kind: ClassVar[str] = "scores"
    dtype: ClassVar[str] = "float32"


Field = Latent | Label | Attributes | Image | Mask | Points | Scores
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
        return {"inputs": [field_to_json(field) for field in self.inputs], "output": field_to_json(self.output)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Signature":
        """Read what :meth:`to_json` wrote; raises :class:`UserError` on anything else."""
        try:
            inputs, output = data["inputs"], data["output"]
            return cls(tuple(field_from_json(field) for field in inputs), field_from_json(output))
        except (KeyError, TypeError) as error:
            raise UserError(f"not a signature: {error}") from None


def field_to_json(field: Field) -> dict[str, Any]:
    """Return one field as plain data: its kind, name, dtype and shape, and what else its kind knows."""
    data: dict[str, Any] = {"kind": field.kind, "name": field.name, "dtype": field.dtype, "shape": list(field.shape)}
    match field:
        case Latent():
            data["distribution"] = field.distribution
        case Label():
            data |= {"classes": field.classes, "names": list(field.names)}
        case Attributes():
            data |= {"names": list(field.names), "examples": [list(row) for row in field.examples]}
        case Image():
            data["range"] = list(field.range)
            if field.layout:
                data["layout"] = field.layout
    if isinstance(field, Image | Mask) and field.multiple is not None:
        data["multiple"] = field.multiple
    return data


def field_from_json(data: dict[str, Any]) -> Field:
    """Read what :func:`field_to_json` wrote; raises :class:`UserError` on anything else."""
    try:
        name, shape = str(data["name"]), tuple(int(size) for size in data["shape"])
        multiple = int(data["multiple"]) if "multiple" in data else None
        match data["kind"]:
            case "latent":
                return Latent(shape, data["distribution"], name)
            case "label":
                return Label(int(data["classes"]), tuple(data["names"]), name)
            case "attributes":
                (dim,) = shape
                examples = tuple(tuple(float(value) for value in row) for row in data["examples"])
                return Attributes(dim, tuple(data["names"]), examples, name)
            case "image":
                layout, (low, high) = data.get("layout", ""), data["range"]
                height, width, channels = shape if layout == "NHWC" else (*shape[1:], shape[0])
                return Image(channels, height, width, (float(low), float(high)), name, multiple, layout)
            case "mask":
                _, height, width = shape
                return Mask(height, width, name, multiple)
            case "points":
                (dim,) = shape
                return Points(dim, name)
            case "scores":
                return Scores(shape, name)
            case kind:
                raise UserError(f"unknown kind of field {kind!r}; there is: {', '.join(_KINDS)}")
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError(f"not a field of a signature: {str(data)[:200]}") from None


def _check_names(names: tuple[str, ...], what: str) -> None:
    for name in names:
        if not isinstance(name, str) or not fits(name):
            raise UserError(f"{name!r} cannot be the name of {what}: {NAME}; rename it")


def _check_shape(shape: tuple[int, ...]) -> None:
    if not shape or any(size < 1 for size in shape):
        raise UserError(f"every size of a shape is at least 1, not {shape}")


def _check_multiple(height: int, width: int, multiple: int | None) -> None:
    if multiple is not None and (multiple < 1 or height % multiple or width % multiple):
        raise UserError(f"{height}x{width} is no multiple of {multiple}")
