"""Checks of kinds of fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganzoo.errors import UserError
from ganzoo.fields import Field
from ganzoo.plugin.registry import Entry
from ganzoo.testing.general import given
from ganzoo.testing.results import Check, Fault, Skip
from ganzoo_runtime.errors import ModelError
from ganzoo_runtime.metadata import check_document
from ganzoo_runtime.sinks import Pieces, write_npy

__all__ = ["checks"]

_LATENT = {"kind": "latent", "name": "latent", "dtype": "float32", "shape": [4], "distribution": "normal"}
_PIXELS = (-1.0, 1.0)


def checks(entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a kind of field; ``sets`` are arguments to make one with, besides its spec's defaults."""

    @cache
    def field() -> Field:
        return build(entry, sets)

    def made() -> None:
        """It can be made."""
        field()

    yield Check("kind", lambda: kind(entry), vital=True)
    yield Check("build", made, vital=True)
    yield Check("document", lambda: document(field()))
    yield Check("values", lambda: values(field()), vital=True)  # those that follow are made of examples
    yield Check("encoding", lambda: encoding(field()))
    yield Check("packed", lambda: packed(field()))
    yield Check("picture", lambda: picture(field()))
    yield Check("stored", lambda: stored(field()))


def kind(entry: Entry) -> None:
    """It is a frozen dataclass, and called in files by its key."""
    cls: Any = entry.spec.load()
    if getattr(cls, "kind", None) not in (entry.spec.key, entry.name):
        raise Fault(f"its kind is {getattr(cls, 'kind', None)!r}, and files find it by the key {entry.spec.key!r}")
    parameters: Any = getattr(cls, "__dataclass_params__", None)
    if not (is_dataclass(cls) and parameters.frozen):
        raise Fault("it is no frozen dataclass: signatures are compared, and never change")


def build(entry: Entry, sets: Sequence[str]) -> Field:
    """Return one, made with the spec's defaults and the settings; raises Skip if an argument is missing."""
    cls = entry.spec.load()
    arguments = {name: _tuples(value) for name, value in {**entry.spec.defaults, **given(sets)}.items()}
    needed = (each for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING)
    if missing := [each.name for each in needed if each.name not in arguments]:
        raise Skip(f"give {' and '.join(f'--set {name}=...' for name in missing)}, or defaults in its spec")
    try:
        field: Field = cls(**arguments)
    except TypeError as error:
        raise Fault(f"it cannot be made with {arguments}: {error}") from None
    return field


def document(field: Field) -> None:
    """What files say of it is plain JSON that the runtime accepts, and reads back as the same field."""
    for each in _both(field):
        data = each.to_json()
        try:
            written = json.loads(json.dumps(data, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise Fault(f"to_json() gives what JSON cannot say: {error}") from None
        if (data["kind"], data["name"]) != (each.kind, each.name) or tuple(data["shape"]) != each.shape:
            raise Fault("to_json() gives another kind, name or shape; start from that of ganzoo.Field")
        try:
            check_document({"schema": 1, "signature": {"inputs": [_LATENT], "output": written}})
        except ModelError as error:
            raise Fault(f"the runtime refuses a file with it: {error}") from None
        read = type(each).from_json(written, each.name, tuple(written["shape"]))
        if read != each or hash(read) != hash(each):
            raise Fault(f"written to a file and read back it is {read}, not {each}")


def values(field: Field) -> None:
    """Examples have its shape, dtype and range, are finite and the same for a seed."""
    for each in _both(field):
        found = _examples(each)
        if found.shape != (64, *each.shape) or found.dtype != each.dtype:
            raise Fault(f"64 examples are {found.dtype} {list(found.shape)}, it says {each.dtype} {[64, *each.shape]}")
        if not np.isfinite(found).all():
            raise Fault("its examples are not finite")
        if not np.array_equal(found, _examples(each)):
            raise Fault("its examples differ for one seed; they are drawn from the generator that is given")
        if fault := each.fault(found):
            raise Fault(f"its own examples have {fault}")


def encoding(field: Field) -> None:
    """What a data set holds is encoded to what a network sees, and decoded to the same again."""
    seen, held = field.scaled(_PIXELS), _examples(field).astype(field.data_dtype)
    encoded = seen.encode(torch.from_numpy(held.copy()))
    if encoded.shape != (64, *seen.shape) or str(encoded.dtype) != f"torch.{seen.dtype}":
        raise Fault(
            f"encode() gives {encoded.dtype} {list(encoded.shape)}, and a network sees torch.{seen.dtype} "
            f"{[64, *seen.shape]}"
        )
    decoded = seen.decode(encoded).numpy()
    if decoded.shape != held.shape or not np.allclose(decoded, held, rtol=1e-4, atol=1e-4):
        raise Fault("decode() does not give back what was encoded")


def packed(field: Field) -> None:
    """Two samples joined along their first axis are a field of it, or it refuses with a UserError."""
    seen = field.scaled(_PIXELS)
    try:
        joined = seen.packed(2)
    except UserError as error:
        raise Skip(str(error)) from None
    if not seen.shape or joined.shape != (2 * seen.shape[0], *seen.shape[1:]):
        raise Fault(f"packed(2) gives the shape {joined.shape}; samples are joined along the first axis")


def picture(field: Field) -> None:
    """One sample, several and many are drawn into an image, with and without real ones beside, laid out or not."""
    seen = field.scaled(_PIXELS)
    samples = _examples(seen)
    for n, real, columns in ((1, None, None), (5, samples[:7], None), (64, None, 3)):
        found = seen.picture(samples[:n], real, columns)
        if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] not in (1, 3, 4) or not found.size:
            raise Fault(f"picture() gives {found.dtype} {list(found.shape)}, not uint8 [H, W, 1, 3 or 4]")
    if seen.shown < 1 or seen.rows < 0:
        raise Fault("a picture shows at least one sample")


def stored(field: Field) -> None:
    """Samples are stored one by one, stay as they are when they are stored again, and are written to files."""
    seen = field.scaled(_PIXELS)
    samples = _examples(seen)
    found = seen.stored(samples)
    if not isinstance(found, np.ndarray):
        raise Fault(f"stored() gives a {type(found).__name__}, not an array")
    if len(found) != len(samples) or found.dtype.hasobject:
        raise Fault(f"stored() gives {found.dtype} {list(found.shape)} for 64 samples")
    if not np.array_equal(found, seen.stored(found)):
        raise Fault("stored() changes what is stored already")
    if not np.array_equal(found[:3], seen.stored(samples[:3])):
        raise Fault("stored() gives something else for the first samples alone; a stream comes in pieces")
    if found[:3].dtype != seen.stored(samples[:3]).dtype:
        raise Fault("stored() gives another dtype for fewer samples; a file has one")
    with TemporaryDirectory(prefix="ganzoo-check-") as folder:
        pieces: Pieces = [(seen.stored(part), {}) for part in (samples[:40], samples[40:])]
        write_npy(Path(folder, "samples.npy"), pieces, 64, {"inputs": [], "output": seen.to_json()})
        if not np.array_equal(np.load(Path(folder, "samples.npy")), found):
            raise Fault("samples that were written to a .npy are not read back")


def _both(field: Field) -> Sequence[Field]:
    """Return the field as data sets and as networks have it."""
    return (field, field.scaled(_PIXELS))


def _examples(field: Field) -> NDArray[Any]:
    return field.example(np.random.Generator(np.random.Philox(7)), np.arange(64))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
