"""The metadata document of an exported file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import ganzoo_runtime as runtime
from ganzoo import GanzooError, Signature, UserError
from ganzoo_runtime.metadata import check_document

__all__ = ["SCHEMA", "complete", "to_json"]

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
    try:
        check_document(json.loads(to_json(document)))
    except runtime.ModelError as error:
        raise UserError(f"the metadata cannot be written: {error}") from None
    return document


def to_json(document: Mapping[str, Any]) -> str:
    """Return a document as text; raises :class:`~ganzoo.GanzooError` for what JSON cannot say."""
    try:
        return json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise GanzooError(f"the metadata cannot be written as JSON: {error}") from None
