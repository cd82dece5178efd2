"""``ganzoo sample``."""

from __future__ import annotations

import sys
from collections.abc import Container, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganzoo.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.signature import Attributes, Label, Signature

__all__ = ["register", "sample"]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(sample)


def sample(
    model: Annotated[str, typer.Argument(help="A run folder, an .onnx file, or zoo:NAME.")],
    n: Annotated[int | None, typer.Option("-n", help="How many; 64 images or 10,000 points if left out.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            help="A class by number or name, LABEL=CLASS where there are several labels (repeatable); 'all' takes "
            "them in turn, as does leaving it out.",
        ),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An attribute by name, by number if they have no names (repeatable); the others are as in the data.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same samples, from a run and from its file.")] = 0,
    truncation: Annotated[float, typer.Option(help="Scales the latents: below 1 more typical, less varied.")] = 1.0,
    out: Annotated[
        Path, typer.Option(help="FILE.png for one sheet, FILE.npz for the numbers, or a folder for a file each.")
    ] = Path("samples.png"),
) -> None:
    """Draw samples from a trained model."""
    from ganzoo.files import atomic_path
    from ganzoo.opening import open_model
    from ganzoo.signature import Attributes, Image, Label, Signature

    if n is not None and n < 1:
        raise UserError(f"-n is at least 1, not {n}")
    if seed < 0:
        raise UserError(f"--seed is at least 0, not {seed}")
    if not 0 <= truncation < float("inf"):
        raise UserError(f"--truncation is at least 0, not {truncation}")
    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix not in ("", ".png", ".npz"):
        raise UserError(f"--out is a .png, an .npz or a folder, not {out}")
    sampler = open_model(model)
    signature = Signature.from_json(sampler.metadata["signature"])
    if not suffix and not isinstance(signature.output, Image):
        raise UserError(f"{model} draws {signature.output.kind}, not images; give --out FILE.png or FILE.npz")
    if n is None:
        n = 64 if isinstance(signature.output, Image) else 10_000
    classes = _classes(label or [], [field for field in signature.inputs if isinstance(field, Label)])
    values = _values(attribute or [], [field for field in signature.inputs if isinstance(field, Attributes)])
    try:
        samples = sampler.sample(n, seed=seed, label=classes or None, attributes=values or None, truncation=truncation)
    except ValueError as error:
        raise UserError(str(error)) from None
    if suffix == ".npz":
        import numpy as np

        with atomic_path(out) as temporary, temporary.open("wb") as file:
            np.savez(file, samples=samples)
    else:
        _draw(samples, signature, out, folder=not suffix, fixed=classes)
    print(f"{n} samples by {sampler.device}", file=sys.stderr)
    print(out)


def _draw(
    samples: NDArray[np.float32], signature: Signature, out: Path, *, folder: bool, fixed: Container[str]
) -> None:
    from ganzoo import pictures
    from ganzoo.pixels import to_pixels
    from ganzoo.signature import Image

    if folder:
        assert isinstance(signature.output, Image)
        pictures.save_images(out, to_pixels(samples, signature.output.range))
    else:
        pictures.save_sheet(out, samples, signature.output, columns=pictures.sheet_columns(signature, fixed))


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
        classes[field.name] = _class(text, name, field)
    return {name: index for name, index in classes.items() if index is not None}


def _label(text: str, fields: Sequence[Label]) -> tuple[Label, str]:
    """Return the label that the text is about, and what it says about it."""
    if len(fields) > 1 or text not in fields[0].names:
        for field in fields:
            if text.startswith(f"{field.name}="):
                return field, text.removeprefix(f"{field.name}=")
    if len(fields) == 1:
        return fields[0], text
    close = did_you_mean(text.partition("=")[0], [field.name for field in fields])
    raise UserError(f"--label {text!r} does not say which label is meant: it is LABEL=CLASS{close}")


def _class(text: str, name: str, field: Label) -> int | None:
    if name == "all":
        return None
    if name in field.names:
        return field.names.index(name)
    if name.isdecimal() and int(name) < field.classes:
        return int(name)
    close = did_you_mean(name, field.names) if field.names else ""
    raise UserError(f"unknown --label {text!r}: it is a number from 0 to {field.classes - 1}, a name or 'all'{close}")


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
        if name not in names:
            raise UserError(f"unknown --attribute {name!r}{did_you_mean(name, names)}")
        if name in values:
            raise UserError(f"--attribute gives {name} twice")
        try:
            values[name] = float(number)
        except ValueError:
            raise UserError(f"--attribute {name} is a number, not {number!r}") from None
        if not isfinite(values[name]):
            raise UserError(f"--attribute {name} is a finite number, not {number!r}")
    return values
