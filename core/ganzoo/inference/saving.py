"""Writing samples to files: a grid in one image, arrays, or a stream to a sink."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UserError, at_least, path_of
from ganzoo.fields import Field, Image, Signature, Tokens
from ganzoo.files import atomic_path, writing
from ganzoo.images.grids import grid_columns, save_grid
from ganzoo.plugin.registry import load_registry
from ganzoo_runtime.fields import lines
from ganzoo_runtime.marking import provenance
from ganzoo_runtime.random_inputs import MOST, memory

if TYPE_CHECKING:
    from ganzoo.gan.sampler import Sampler
    from ganzoo.inference.formats import Sink
    from ganzoo_runtime.random_inputs import Labels, Texts, Truncation, Vectors

__all__ = ["sample_lines", "save_samples"]


def save_samples(
    sampler: Sampler,
    path: str | PathLike[str],
    n: int | None = None,
    *,
    seed: int = 0,
    label: Labels = None,
    attributes: Vectors = None,
    text: Texts = None,
    truncation: Truncation = None,
) -> tuple[int, Path]:
    """Draw ``n`` samples into a file or a folder; return how many, and what is written (of several files, a pattern).

    By its suffix ``path`` is a .png of a grid, or of what else shows such samples; an .npz with ``samples`` (of a table
    an array for each column, of tokens with texts ``tokens`` and ``text``) and what they were drawn for; what a sink
    writes, in constant memory; or, without a suffix, a folder for a .png each. ``n`` is what a .png shows if left out,
    such as 64 images or 10,000 points. Image files say which model drew them. The other
    arguments are those of :meth:`ganzoo.Sampler.sample`.

    Raises :class:`~ganzoo.UserError` for another suffix, for what cannot be drawn, and if nothing can be written.
    """
    signature = Signature.from_json(sampler.metadata["signature"])
    output = signature.output
    n = _count(n, seed, output)
    registry, path = load_registry(), path_of("path", path)
    suffix = "" if path.is_dir() else path.suffix.lower()
    sinks = [f".{entry.spec.key}" for entry in registry.specs("sink") if entry.spec.key != "folder"]
    if suffix not in ("", ".png", ".npz", *sinks):
        many = f"; or, for many samples, {', '.join(sinks)}" if sinks else ""
        raise UserError(f"--out is a .png, an .npz or a folder, not {path}{many}")
    if not suffix and not isinstance(output, Image):
        raise UserError(f"the model draws {output.kind}, not images; give --out FILE.png or FILE.npz")
    asked: dict[str, Any] = {"seed": seed, "label": label, "attributes": attributes, "truncation": truncation}
    asked |= {} if text is None else {"text": text}
    claims = provenance(sampler.metadata, seed)
    size = n * math.prod(output.shape) * np.dtype(output.dtype).itemsize
    if suffix in (".png", ".npz") and size > memory():
        # Refused beforehand: one that is drawn until memory is full may have taken hours, or the machine.
        streamed = [*(["a folder"] if isinstance(output, Image) else []), *sinks]
        raise UserError(
            f"-n {n:,}: the samples take {size / 1e9:,.0f} GB, and a {suffix} is made in memory, of which this machine "
            f"has {memory() / 1e9:,.0f} GB; any number can be written to {', '.join(streamed)}"
        )
    try:
        if suffix == ".png":
            fixed = [name for name, of in label.items() if str(of) != "all"] if isinstance(label, Mapping) else ()
            columns = grid_columns(signature, fixed) or _columns(text)
            save_grid(path, sampler.sample(n, **asked), output, columns=columns, claims=claims)
        elif suffix == ".npz":
            pieces = [(output.stored(samples), inputs) for samples, inputs in sampler.stream(n, **asked)]
            inputs = {name: np.concatenate([piece[name] for _, piece in pieces]) for name in pieces[0][1]}
            for field in signature.inputs:
                if field.kind == "truncation":  # in place of the shares and the mean of W
                    del inputs[field.name]
                elif field.kind == "styles":  # what the samples are drawn from
                    inputs[field.name] = sampler.styles(n, **asked)
            _save_arrays(path, np.concatenate([samples for samples, _ in pieces]), inputs)
        else:
            write: Sink = registry.get("sink", suffix.removeprefix(".") or "folder").spec.load()
            stream = ((output.stored(samples), inputs) for samples, inputs in sampler.stream(n, **asked))
            with writing(path):
                path = write(path, stream, n, {**sampler.metadata["signature"], "provenance": claims})
    except ValueError as error:
        raise UserError(str(error)) from None
    return n, path


def sample_lines(
    sampler: Sampler, n: int | None = None, *, attributes: Vectors = None, **asked: Any
) -> Iterator[str] | None:
    """Yield a line for each of ``n`` samples of tokens, 32 if left out; return None for a model of something else.

    The arguments are those of :func:`save_samples`, and so is what is refused, at once.
    """
    output = Signature.from_json(sampler.metadata["signature"]).output
    if not isinstance(output, Tokens):
        return None
    n = _count(n, asked.get("seed", 0), output)
    try:
        pieces = sampler.stream(n, attributes=attributes, **asked)
    except ValueError as error:
        raise UserError(str(error)) from None
    return (line for samples, _ in pieces for line in lines(samples, output.to_json()))


def _count(n: int | None, seed: int, output: Field) -> int:
    """Return how many samples to draw; raises :class:`~ganzoo.UserError` for no number of samples, and for no seed."""
    at_least("-n", n, 1)
    at_least("--seed", seed, 0)
    if n is not None and n > MOST:
        raise UserError(f"-n is at most {MOST:,}, not {n:,}")
    return output.shown if n is None else n


def _columns(text: Texts) -> int | None:
    """Return how many columns make every column one of the captions, which take turns; None for one, or for many."""
    return len(text) if text is not None and not isinstance(text, str) and 1 < len(text) <= 16 else None


def _save_arrays(path: Path, samples: NDArray[Any], inputs: Mapping[str, NDArray[Any]]) -> None:
    named = samples.dtype.names
    arrays: dict[str, Any] = {name: samples[name] for name in named} if named else {"samples": samples}
    for name, values in inputs.items():
        free = name
        while free in arrays:  # a column of the sample may be called like an input
            free += "_"
        arrays[free] = values
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
