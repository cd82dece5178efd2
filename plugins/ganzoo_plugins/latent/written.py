"""What the options of the editing commands say, as it is written on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import Attributes, Label, Latent, Styles, UserError, cli, did_you_mean

if TYPE_CHECKING:
    from ganzoo_plugins.latent.editing import Editor

__all__ = ["MOST", "changes", "have", "layers", "numbers", "strengths", "terms", "unknown"]

LONGEST = 7
"""Digits of a number of a sample, a layer or an entry of a latent."""

MOST = 10**LONGEST
"""The most samples that a command takes at once: so many numbers there are."""


def changes(editor: Editor, to: list[str] | None) -> dict[str, float]:
    """Return the attributes that --to gives, by name."""
    kinds = {type(field) for field in editor.signature.inputs}
    if to and Label in kinds and Attributes not in kinds:
        raise UserError("--to changes attributes, and this model has labels: choose a class with --label")
    try:
        changed: dict[str, float] = cli.conditions(editor.signature, 0, 1.0, None, to)["attributes"] or {}
        return changed
    except UserError as error:
        raise UserError(str(error).replace("--attribute", "--to")) from None


def numbers(text: str) -> list[int]:
    """Read '0,7,3'."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"the numbers of samples are written like 0,7,3, not {text!r}")
    if any(len(part) > LONGEST for part in parts):
        raise UserError(f"the numbers of samples have at most {LONGEST} digits, not {text!r}")
    return [int(part) for part in parts]


def layers(text: str, field: Latent | Styles) -> list[int]:
    """Read '0-3', or '2', as the first and the last of the layers that styles have."""
    if not isinstance(field, Styles):
        raise UserError(f"--layers are those of styles, and {field.name!r} is a latent")
    first, _, last = (part.strip() for part in text.partition("-"))
    found = [first, last or first]
    right = all(part.isdecimal() and len(part) <= LONGEST for part in found)
    if not right or not int(found[0]) <= int(found[1]) < field.layers:
        raise UserError(f"--layers is FIRST-LAST of the layers 0 to {field.layers - 1}, such as 0-1, not {text!r}")
    return [int(part) for part in found]


def terms(text: str) -> list[tuple[int, list[int]]]:
    """Read '3,8 - 5 + 1' as signs and numbers."""
    terms, sign = [], 1
    for part in text.replace("+", " + ").replace("-", " - ").replace(", ", ",").split():
        if part in "+-":
            sign = 1 if part == "+" else -1
        else:
            terms.append((sign, numbers(part)))
            sign = 1
    if not terms or text.rstrip().endswith(("+", "-")):
        raise UserError(f"a sum of samples is written like '3,8 - 5 + 1', not {text!r}")
    return terms


def strengths(texts: list[str], known: dict[str, Any], editor: Editor, path: Path | None) -> dict[str, float]:
    """Read NAME=STRENGTH; what is named like z.3 is added to the known directions, which are those of the file."""
    strengths: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name:
            raise UserError(f"--direction is NAME=STRENGTH, such as smile=1.5, not {text!r}")
        if isnan(strength := cli.parsed(number)):
            raise UserError(
                f"the strength of --direction {name} is a finite number that float32 can hold, not {number!r}"
            )
        if name not in known:
            if not _is_number_of(editor.field, name):
                raise UserError(unknown(name, known, editor, path))
            place = int(name.rpartition(".")[2])
            known[name] = {"vector": [float(place == number) for number in range(_size(editor.field))]}
        strengths[name] = strength
    return strengths


def unknown(name: str, known: Mapping[str, Any], editor: Editor, path: Path | None) -> str:
    """Return why a direction is none of the latent that is edited, and what to do."""
    fields = [field for field in editor.signature.inputs if isinstance(field, Latent | Styles)]
    every = editor.directions(path, every=True)
    for other in fields:
        if _is_number_of(other, name) or (name in every and every[name]["latent"] == other.name):
            return f"{name!r} is a direction of {other.name!r}, not of {editor.field.name!r}: give --on {other.name}"
    which = f"the latent {editor.field.name!r} (see --on)"
    if name.startswith(f"{editor.field.name}."):
        which += f", which has {_size(editor.field)} numbers"
    return f"there is no direction {name!r} of {which}{did_you_mean(name, known) if known else f'; {have(known)}'}"


def _size(field: Latent | Styles) -> int:
    return field.dim if isinstance(field, Styles) else prod(field.shape)


def _is_number_of(field: Latent | Styles, name: str) -> bool:
    """Return whether the name is that of a single number of a latent, such as z.3."""
    latent, _, number = name.rpartition(".")
    return latent == field.name and number.isdecimal() and len(number) <= LONGEST and int(number) < _size(field)


def have(known: Mapping[str, Any]) -> str:
    """Return which directions there are, as the end of a sentence."""
    if known:
        return f"there is {', '.join(known)}"
    return "there are no directions yet: see 'ganzoo directions --help', and give them with --directions FILE"
