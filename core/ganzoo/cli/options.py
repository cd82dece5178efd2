"""Labels and attributes on the command line: options that several commands share, resolved by a signature."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isnan, nan
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.errors import UserError, did_you_mean, user_errors
from ganzoo.runs.naming import located
from ganzoo_runtime.text import class_index, same

if TYPE_CHECKING:
    from ganzoo.fields import Attributes, Label, Signature

__all__ = ["TF32", "Attribute", "Classes", "Cutoff", "Model", "Seed", "Text", "Truncation", "conditions", "parsed"]

_TF32 = "GANZOO_TF32"  # ganzoo_runtime.providers has it too, which imports onnxruntime
_LARGEST = (2 - 2**-23) * 2.0**127  # of float32, which networks compute in

Model = Annotated[
    str,
    typer.Argument(help="A run (folder, number or 'last'), an exported file, or zoo:NAME.", callback=located),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="CLASS",
        help="A class by name, or by its number from 0 unless any of the names is another number; LABEL=CLASS where "
        "there are several labels (repeatable); 'all' takes them in turn, as does leaving it out.",
    ),
]
Attribute = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="An attribute by name, by number if they have no names (repeatable); the others are as in the data.",
    ),
]
Text = Annotated[
    list[str] | None,
    typer.Option(metavar="CAPTION", help="What to draw, in words that the model knows (repeatable: they take turns)."),
]
Seed = Annotated[int, typer.Option(help="The same seed draws the same samples, from a run and from its file.")]
Truncation = Annotated[
    float | None,
    typer.Option(
        help="Less is more typical and less varied: what the distance of latents, or of the styles of a style-based "
        "model, from their mean is multiplied by; where latents are resampled, as BigGAN's, the threshold of their "
        "numbers.",
    ),
]
Cutoff = Annotated[
    int | None,
    typer.Option(
        "--truncation-cutoff", min=1, metavar="N", help="Truncate the N coarsest styles alone, of a style-based model."
    ),
]


def _allow_tf32(context: typer.Context, wanted: bool) -> None:
    """Set what the runtime reads where it opens a file, until the command ends."""
    if wanted:
        before = os.environ.get(_TF32)
        os.environ[_TF32] = "1"
        context.call_on_close(lambda: os.environ.pop(_TF32) if before is None else os.environ.update({_TF32: before}))


TF32 = Annotated[
    bool,
    typer.Option(
        "--tf32",
        callback=_allow_tf32,
        help="Let an exported file multiply in TF32 on a CUDA device: faster for many samples, with errors of 1e-5 to "
        "5e-3 of the value range.",
    ),
]


def conditions(
    signature: Signature,
    seed: int,
    truncation: float | None,
    label: Sequence[str] | None,
    attribute: Sequence[str] | None,
    cutoff: int | None = None,
    text: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return what the options say as arguments of :meth:`ganzoo.Sampler.sample`.

    ``"label"`` are the classes that are asked for by the name of the label, without those that take turns, and
    ``"attributes"`` numbers by name; None where there are none. ``"text"`` are captions, if there are any. Raises
    :class:`UserError` for what makes no sense.
    """
    from ganzoo.fields import Attributes, Label, Truncation

    if seed < 0:
        raise UserError(f"--seed is at least 0, not {seed}")
    layers = next((field.layers for field in signature.inputs if isinstance(field, Truncation)), 0)
    if cutoff is not None and not 1 <= cutoff <= layers:
        has = f"this model has {layers}" if layers else "this model has none"
        raise UserError(f"--truncation-cutoff is how many styles of a style-based model are truncated, and {has}")
    if cutoff is not None and truncation is None:
        raise UserError("--truncation-cutoff says which styles --truncation moves; give that too")
    shares = truncation if cutoff is None else [truncation] * cutoff
    classes = _classes(label or [], [field for field in signature.inputs if isinstance(field, Label)])
    values = _values(attribute or [], [field for field in signature.inputs if isinstance(field, Attributes)])
    asked = {"seed": seed, "truncation": shares, "label": classes or None, "attributes": values or None}
    return asked | ({"text": list(text)} if text else {})


def _classes(texts: Sequence[str], fields: Sequence[Label]) -> dict[str, int]:
    """Return the class that is asked for by the name of the label; labels that take turns are left out."""
    classes: dict[str, int | None] = {}
    for text in texts:
        if text == "all":
            continue
        if not fields:
            raise UserError("this model knows no labels; leave --label out")
        field, name = _label(text, fields)
        if field.name in classes:
            raise UserError(f"--label gives {field.name} twice")
        classes[field.name] = None if name == "all" else _index(text, name, field)
    return {name: index for name, index in classes.items() if index is not None}


def _label(text: str, fields: Sequence[Label]) -> tuple[Label, str]:
    """Return the label that the text is about, and what it says about it."""
    text = same(text, fields[0].names) if len(fields) == 1 else text
    if len(fields) > 1 or text not in fields[0].names:
        for field in fields:
            if text.startswith(f"{field.name}="):
                return field, text.removeprefix(f"{field.name}=")
    if len(fields) == 1:
        return fields[0], text
    close = did_you_mean(text.partition("=")[0], [field.name for field in fields])
    raise UserError(f"--label {text!r} does not say which label is meant: it is LABEL=CLASS{close}")


def _index(text: str, name: str, field: Label) -> int:
    with user_errors():
        return class_index(name, field.names, field.classes, f"--label {text!r}")


def _values(texts: Sequence[str], fields: Sequence[Attributes]) -> dict[str, float]:
    """Return the numbers that are asked for by the name of the attribute."""
    if texts and len(fields) != 1:
        what = "several vectors of attributes, which the command cannot tell apart" if fields else "no attributes"
        raise UserError(f"this model knows {what}; leave --attribute out")
    values: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not equals:
            raise UserError(f"--attribute is NAME=VALUE, not {text!r}")
        names = fields[0].names or tuple(map(str, range(fields[0].dim)))
        name = same(name, names)
        if name not in names:
            raise UserError(f"unknown --attribute {name!r}{did_you_mean(name, names)}")
        if name in values:
            raise UserError(f"--attribute gives {name} twice")
        values[name] = parsed(number)
        if isnan(values[name]):
            raise UserError(f"--attribute {name} is a finite number that float32 can hold, not {number!r}")
    return values


def parsed(text: str) -> float:
    """Return the number that a text is; not-a-number where it is none, or none that float32 can hold."""
    try:
        number = float(text)
    except ValueError:
        return nan
    return number if abs(number) <= _LARGEST else nan
