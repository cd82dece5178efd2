"""Checks of sinks, which write a few samples into an empty folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import place, sentence
from ganzoo.fields import Attributes, Image, Label, Latent, Points, Signature, Tokens
from ganzoo.fields.base import Field
from ganzoo.plugin.registry import Entry
from ganzoo.testing.results import Check, Fault, Skip

__all__ = ["checks"]

_PIECES = (4, 3, 1)
_LATENT = Latent((4,))
_INPUTS: Mapping[str, tuple[Field, ...]] = {
    "drawn for nothing": (_LATENT,),
    "drawn for a label": (_LATENT, Label(3)),
    "drawn for two labels": (_LATENT, Label(3), Label(2, name="hue")),
    "drawn for attributes": (_LATENT, Attributes(2, examples=((0.0, 1.0),))),
}
_OUTPUTS: Mapping[str, tuple[Field, ...]] = {
    "images": (Image(1, 8, 8), Image(3, 6, 8, (0, 1)), Image(3, 8, 8, (0, 255), layout="NHWC")),
    "points": (Points(2),),
    "tokens": (Tokens(5, 3), Tokens(5, 3, ("", "a", "b\n"))),
}


def checks(entry: Entry) -> Iterator[Check]:
    """Yield the checks of a sink."""
    yield Check("signatures", lambda: signatures(entry), vital=True)
    yield Check("files", lambda: files(entry))
    yield Check("samples", lambda: consumed(entry))
    yield Check("again", lambda: again(entry))
    yield Check("failure", lambda: failure(entry))


def signatures(entry: Entry) -> str | None:
    """It writes images of any size, channels, layout and condition, or refuses all of them; so for points and tokens."""
    refused = {}
    for kind, outputs in _OUTPUTS.items():
        written, refusals = 0, {}
        for output in outputs:
            for said, inputs in _INPUTS.items():
                with _folder() as folder:
                    try:
                        _write(entry, folder, Signature(inputs, output))
                        written += 1
                    except ValueError as error:
                        refusals[f"{output.describe()}, {said}"] = error
        if written and refusals:
            what, why = next(iter(refusals.items()))
            raise Fault(f"it writes some {kind} and refuses {what}: {sentence(why)}{place(why)}")
        if refusals:
            refused[kind] = next(iter(refusals.values()))
    if refused.keys() == _OUTPUTS.keys():
        why = refused["images"]
        if isinstance(why.__context__, ImportError):
            raise Skip(f"what it needs is not installed: {why}")
        raise Fault(f"it refuses whatever it is given: {sentence(why)}{place(why)}")
    return "; ".join(f"it refuses {kind}: {why}" for kind, why in refused.items())


def files(entry: Entry) -> None:
    """What it returns is a path that exists, or a pattern of files that do."""
    for signature in _taken(entry):
        with _folder() as folder:
            returned: Any = _write(entry, folder, signature)
            if not isinstance(returned, Path):
                raise Fault(f"it returns a {type(returned).__name__}; return the path that was written")
            written = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
            if not written:
                raise Fault(f"it says that it has written {returned.name}, and there is no file with anything in it")
            if folder not in returned.parents:
                raise Fault(f"it returns {returned}, which is not where it was asked to write")
            if not (returned.exists() or set("{*?[") & set(returned.name)):
                raise Fault(f"it returns {returned.name}, and what it has written is {written[0].relative_to(folder)}")


def consumed(entry: Entry) -> None:
    """It takes all samples, and leaves those that it is given as they are."""
    for signature in _taken(entry):
        pieces = list(_pieces(signature))
        kept = [(samples.copy(), {name: part.copy() for name, part in inputs.items()}) for samples, inputs in pieces]
        taken = 0

        def counted(pieces: list[Any] = pieces) -> Iterator[Any]:
            nonlocal taken
            for piece in pieces:
                taken += 1
                yield piece

        with _folder() as folder:
            _write(entry, folder, signature, counted())
        if taken < len(pieces):
            raise Fault(f"it takes {taken} of {len(pieces)} pieces, so that samples are missing from the file")
        for (samples, inputs), (before, given) in zip(pieces, kept, strict=True):
            if not np.array_equal(samples, before) or any(
                not np.array_equal(inputs[name], part) for name, part in given.items()
            ):
                raise Fault("it changes the samples or what they were drawn for; they are the caller's")


def again(entry: Entry) -> None:
    """The same samples written to the same place again take the place of the first ones."""
    for signature in _taken(entry):
        with _folder() as folder:
            _write(entry, folder, signature)
            before = _found(folder)
            try:
                _write(entry, folder, signature)
            except Exception as error:
                raise Fault(f"it does not write over what it has written: {sentence(error)}{place(error)}") from None
            if (after := _found(folder)).keys() != before.keys():
                raise Fault(f"writing a second time leaves {len(after)} files where there were {len(before)}")
            if grown := [name for name, size in after.items() if size > 1.5 * before[name]]:
                raise Fault(f"writing a second time adds to {grown[0]}, where it is to take the first one's place")


def failure(entry: Entry) -> None:
    """When drawing fails midway, the error comes through, and no file is left."""
    for signature in _taken(entry):

        def broken(signature: Signature = signature) -> Iterator[Any]:
            yield next(_pieces(signature))
            raise _Broken("drawing has failed")

        with _folder() as folder:
            try:
                _write(entry, folder, signature, broken())
            except _Broken:
                pass
            else:
                raise Fault("it keeps to itself that drawing has failed; let the error through")
            if left := [path for path in folder.rglob("*") if path.is_file()]:
                raise Fault(
                    f"when drawing fails midway it leaves {left[0].relative_to(folder)}, which looks complete; write "
                    "beside it and rename, as ganzoo.files.atomic_path does"
                )


class _Broken(Exception):
    """What drawing raises."""


def _taken(entry: Entry) -> Iterator[Signature]:
    """Yield a signature of each kind that the sink does not refuse."""
    for outputs in _OUTPUTS.values():
        signature = Signature(_INPUTS["drawn for a label"], outputs[0])
        with _folder() as folder:
            try:
                _write(entry, folder, signature)
            except ValueError:
                continue
        yield signature


class _folder(TemporaryDirectory[str]):
    def __init__(self) -> None:
        super().__init__(prefix="ganzoo-check-")

    def __enter__(self) -> Path:  # type: ignore[override]
        return Path(super().__enter__()).resolve()


def _found(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _write(entry: Entry, folder: Path, signature: Signature, pieces: Iterator[Any] | None = None) -> Any:
    suffix = "" if entry.spec.key == "folder" else f".{entry.spec.key}"
    write = entry.spec.load()
    pieces = _pieces(signature) if pieces is None else pieces
    return write(folder / f"samples{suffix}", pieces, sum(_PIECES), signature.to_json())


def _pieces(signature: Signature) -> Iterator[tuple[NDArray[Any], dict[str, NDArray[Any]]]]:
    rng = np.random.Generator(np.random.Philox(0))

    def drawn(field: Field, n: int) -> NDArray[Any]:
        shape = (n, *field.shape)
        match field:
            case Image():
                return rng.uniform(*field.range, shape).astype(field.dtype)
            case Label():
                return rng.integers(field.classes, size=shape)
            case Tokens():
                return field.stored(rng.integers(field.vocabulary, size=shape))
            case _:
                return rng.standard_normal(shape, dtype=np.float32)

    for n in _PIECES:
        yield drawn(signature.output, n), {field.name: drawn(field, n) for field in signature.inputs}
