"""The metadata document of an exported file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ganzoo_runtime as runtime
from ganzoo import GanzooError, Signature, UserError
from ganzoo.files import write_atomic
from ganzoo.inference.directions import with_entries
from ganzoo_runtime.metadata import check_document

__all__ = ["SCHEMA", "complete", "to_json", "write_copy"]

SCHEMA = 1
"""The version of the metadata document."""


def complete(signature: Signature, metadata: Mapping[str, Any], **entries: Any) -> dict[str, Any]:
    """Return the document of a network with this signature: ``metadata``, and ``entries``, which take their place.

    Raises :class:`~ganzoo.UserError` for what the runtime would refuse to read, and :class:`~ganzoo.GanzooError` for
    a signature without inputs and for what is no JSON.
    """
    if not signature.inputs or not all(field.name for field in signature.inputs):
        raise GanzooError("the network cannot be exported: its signature has no inputs, or one without a name")
    document: dict[str, Any] = {"network": "generator", "latent_generator": "numpy.random.Philox", **metadata}
    document |= {"schema": SCHEMA, "signature": signature.to_json(), **entries}
    _check(document)
    return document


def write_copy(model: Path, path: Path, entries: Mapping[str, Any]) -> None:
    """Write a copy of an exported .onnx file to ``path``, with ``entries`` added to its metadata.

    Raises :class:`~ganzoo.UserError` if the file is not one of ours, if it keeps its weights in another one, and for
    what the runtime would refuse to read.
    """
    import onnx

    try:
        document = with_entries(runtime.Generator(model, providers=["CPUExecutionProvider"]).metadata, entries)
    except runtime.ModelError as error:
        raise UserError(str(error)) from None
    _check(document)
    copy = onnx.load(model, load_external_data=False)
    if any(tensor.external_data for tensor in copy.graph.initializer):
        raise UserError(f"{model.name} keeps its weights in another file: export the run once more, with what is new")
    next(entry for entry in copy.metadata_props if entry.key == "ganzoo").value = to_json(document)
    write_atomic(path, copy.SerializeToString())


def _check(document: Mapping[str, Any]) -> None:
    try:
        check_document(json.loads(to_json(document)))
    except runtime.ModelError as error:
        raise UserError(f"the metadata cannot be written: {error}") from None


def to_json(document: Mapping[str, Any]) -> str:
    """Return a document as text; raises :class:`~ganzoo.GanzooError` for what JSON cannot say."""
    try:
        return json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise GanzooError(f"the metadata cannot be written as JSON: {error}") from None
