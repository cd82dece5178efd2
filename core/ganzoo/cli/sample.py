"""``ganzoo sample``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.cli.conditions import Attribute, Classes, Model, Seed, Truncation, conditions
from ganzoo.errors import UserError
from ganzoo.terminal import print

if TYPE_CHECKING:
    from ganzoo.fields import Signature
    from ganzoo.inference.formats import Sampler, Sink

__all__ = ["sample", "write_samples"]


def sample(
    model: Model,
    n: Annotated[int | None, typer.Option("-n", help="How many; 64 images or 10,000 points if left out.")] = None,
    label: Classes = None,
    attribute: Attribute = None,
    seed: Seed = 0,
    truncation: Truncation = 1.0,
    out: Annotated[
        Path,
        typer.Option(
            help="FILE.png for one sheet, FILE.npz for samples with their latents and labels; for any number of "
            "samples a folder for a .png each, FILE.npy, FILE.parquet, or FILE.tar for WebDataset shards.",
        ),
    ] = Path("samples.png"),
) -> None:
    """Draw samples from a trained model."""
    from ganzoo.fields import Image, Signature
    from ganzoo.inference.opening import open_model
    from ganzoo.plugin.registry import load_registry

    if n is not None and n < 1:
        raise UserError(f"-n is at least 1, not {n}")
    registry = load_registry()
    suffix = "" if out.is_dir() else out.suffix.lower()
    sinks = {f".{entry.spec.key}": entry for entry in registry.specs("sink") if entry.spec.key != "folder"}
    if suffix not in ("", ".png", ".npz", *sinks):
        many = f"; or, for many samples, {', '.join(sinks)}" if sinks else ""
        raise UserError(f"--out is a .png, an .npz or a folder, not {out}{many}")
    if seed < 0:
        raise UserError(f"--seed is at least 0, not {seed}")
    sampler = open_model(model)
    signature = Signature.from_json(sampler.metadata["signature"])
    if not suffix and not isinstance(signature.output, Image):
        raise UserError(f"{model} draws {signature.output.kind}, not images; give --out FILE.png or FILE.npz")
    if n is None:
        n = 64 if isinstance(signature.output, Image) else 10_000
    asked = conditions(signature, seed, truncation, label, attribute)
    if suffix in (".png", ".npz"):
        try:
            _save(out, sampler, n, signature, asked)
        except ValueError as error:
            raise UserError(str(error)) from None
    else:
        pieces = sampler.stream(n, **asked)
        out = write_samples(out, suffix.removeprefix(".") or "folder", pieces, n, sampler.metadata["signature"])
    print(f"{n} samples by {sampler.device}", file=sys.stderr)
    print(out)


def write_samples(out: Path, sink: str, pieces: Iterable[Any], n: int, signature: Mapping[str, Any]) -> Path:
    """Write a stream of samples by the :class:`~ganzoo.Sink` of this name; return what it says it has written.

    Raises :class:`UserError` if it cannot be written.
    """
    from ganzoo.files import writing
    from ganzoo.plugin.registry import load_registry

    write: Sink = load_registry().get("sink", sink).spec.load()
    try:
        with writing(out):
            return write(out, pieces, n, signature)
    except ValueError as error:
        raise UserError(str(error)) from None


def _save(out: Path, sampler: Sampler, n: int, signature: Signature, asked: dict[str, Any]) -> None:
    """Write what fits in memory: a sheet, or numbers."""
    import numpy as np

    from ganzoo.files import atomic_path
    from ganzoo.images import grids as pictures

    if out.suffix.lower() == ".png":
        columns = pictures.grid_columns(signature, asked["label"] or {})
        pictures.save_grid(out, sampler.sample(n, **asked), signature.output, columns=columns)
        return
    pieces = list(sampler.stream(n, **asked))
    arrays: dict[str, Any] = {name: np.concatenate([inputs[name] for _, inputs in pieces]) for name in pieces[0][1]}
    with atomic_path(out) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays, samples=np.concatenate([samples for samples, _ in pieces]))
