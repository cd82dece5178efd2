"""Labels of samples that directions are fitted to: from a table that a person fills in, or from a function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ganzoo import UserError, cli, files
from ganzoo_runtime.text import NAME, fits

if TYPE_CHECKING:
    from ganzoo_plugins.latent.editing import Editor

__all__ = [
    "CHUNK",
    "Evaluator",
    "Labeled",
    "check_table",
    "evaluate_samples",
    "import_evaluator",
    "read_table",
    "write_table",
]

CHUNK = 256
"""Samples that are drawn at a time."""

MOST = 10_000_000
"""Samples that a table may reach: of each seed all latents up to the last one that is labeled are drawn."""

Evaluator = Callable[[NDArray[np.uint8]], Mapping[str, ArrayLike]]
"""Given images, uint8 [N, H, W, C], it returns by name one number for each; not-a-number where it cannot tell."""

Labeled = dict[str, tuple[NDArray[np.float32], NDArray[np.float64]]]
"""By the name of what was labeled: the latents that have a label, [N, ...], and the labels, [N]."""


def check_table(path: Path, names: Sequence[str]) -> None:
    """Raise :class:`UserError` if the CSV is there, or for names that a table cannot have."""
    if path.exists():
        raise UserError(f"{path} is there already, and labels are work; choose another --out")
    if bad := [name for name in names if name in ("", "sample", "seed") or set(name) & set(',"\n=')]:
        raise UserError(f"--name is a word without commas, quotes or =, not {bad[0]!r}")


def write_table(path: Path, names: Sequence[str], n: int, seed: int) -> None:
    """Write a CSV with a row for each of the samples of a seed, and an empty column for each of the names."""
    rows = [",".join(["sample", "seed", *names]), *(f"{number:06d},{seed}" + "," * len(names) for number in range(n))]
    files.write_atomic(path, "\n".join(rows) + "\n")


def read_table(editor: Editor, path: Path) -> Labeled:
    """Return what a person has written into the CSV; cells may be empty.

    Raises :class:`UserError` if it cannot be read, or has something else in it than numbers, yes and no.
    """
    rows = files.read_csv(path)
    _, header = next(rows, (0, []))
    columns: dict[str, tuple[list[tuple[int, int]], list[float]]] = {}
    for line, row in rows:
        cells = dict(zip(header, row, strict=False))
        try:
            place = int(cells.pop("seed", "") or 0), int(cells.pop("sample"))
        except (ValueError, KeyError):
            reason = "its columns are sample, seed, and one for each direction"
            raise UserError(f"no labels can be read from {path}: {reason}, and line {line} is none of them") from None
        if min(place) < 0 or place[1] >= MOST:
            raise UserError(f"no labels can be read from {path}: a sample or a seed is out of range in line {line}")
        for name, text in cells.items():
            if name and text.strip():
                places, values = columns.setdefault(name, ([], []))
                places.append(place)
                values.append(_value(text.strip(), f"{path}, line {line}, column {name}"))
    if not columns:
        raise UserError(f"{path} has no labels yet: write numbers, or yes and no, into its columns")
    if bad := [name for name in columns if not fits(name)]:
        raise UserError(f"the column {bad[0]!r} of {path} cannot give a direction its name: {NAME}")
    seeds: dict[int, list[int]] = {}
    for seed, number in {place for places, _ in columns.values() for place in places}:
        seeds.setdefault(seed, []).append(number)
    if sum(max(numbers) + 1 for numbers in seeds.values()) > MOST:
        raise UserError(f"no labels can be read from {path}: its seeds have more than {MOST:,} samples together")
    latents: dict[tuple[int, int], NDArray[np.float32]] = {}
    for seed, numbers in seeds.items():
        drawn = editor.latents(numbers, seed)
        latents |= {(seed, number): latent for number, latent in zip(numbers, drawn, strict=True)}
    return {
        name: (np.stack([latents[place] for place in places]), np.array(values))
        for name, (places, values) in columns.items()
    }


def _value(text: str, where: str) -> float:
    words = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
    value = words[text.lower()] if text.lower() in words else cli.parsed(text)
    if isnan(value):
        raise UserError(f"{where}: a label is a number, or yes or no, not {text!r}")
    return value


def import_evaluator(text: str) -> Evaluator:
    """Return the function that is called ``"module:function"``; modules in the current folder are found too."""
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise UserError(f"--attribute-of is MODULE:FUNCTION, not {text!r}")
    sys.path.insert(0, "")  # as python -m does: modules in the current folder
    try:
        function = getattr(import_module(module), name)
    except Exception as error:
        raise UserError(f"--attribute-of {text} cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove("")
    if not callable(function):
        raise UserError(f"--attribute-of {text} is no function")
    evaluator: Evaluator = function
    return evaluator


def evaluate_samples(editor: Editor, evaluator: Evaluator, n: int) -> Labeled:
    """Return what the function says about the first ``n`` samples; raises :class:`UserError` if it fails."""
    latents = editor.latents(range(n))
    parts: list[dict[str, NDArray[Any]]] = []
    for start in range(0, n, CHUNK):
        chunk = latents[start : start + CHUNK]
        images = editor.draw(chunk, np.arange(start, start + len(chunk)))
        try:
            found = evaluator(images)
        except Exception as error:
            raise UserError(f"the function of --attribute-of failed: {type(error).__name__}: {error}") from None
        try:
            parts.append({str(name): np.asarray(values, np.float64) for name, values in found.items()})
            fine = bool(parts[-1]) and all(values.shape == (len(images),) for values in parts[-1].values())
        except (AttributeError, TypeError, ValueError):
            fine = False
        if not fine or parts[-1].keys() != parts[0].keys():
            raise UserError("the function of --attribute-of returns a dict from names to one number for each image")
    columns = {}
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        columns[name] = (latents[np.isfinite(values)], values[np.isfinite(values)])
    return columns
