"""Files of latent directions, which every command and function reads by the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from ganzoo.errors import UserError
from ganzoo.fields import Signature
from ganzoo.files import read_json
from ganzoo_runtime.errors import ModelError
from ganzoo_runtime.metadata import check_directions

__all__ = ["read_directions", "with_entries"]


def read_directions(path: str | PathLike[str], signature: Signature | None = None) -> dict[str, Any]:
    """Return what a file of latent directions holds, as entries of a model's metadata.

    These are ``"directions"``, by name ``{"latent", "vector", "range", "method", ...}``, and if there is one
    ``"latent_mean"``, by latent the numbers that truncation moves it towards. The file is JSON with these entries, or
    with the directions alone. Raises :class:`~ganzoo.UserError` if it cannot be read or holds none, and with a
    ``signature`` unless all are of its latents and styles.
    """
    document = read_json(path)
    if not isinstance(document, dict) or not document:
        raise UserError(f"{path} holds no directions; 'ganzoo directions' makes such a file")
    entries = document if document.keys() <= {"directions", "latent_mean"} else {"directions": document}
    try:
        check_directions(entries, None if signature is None else [field.to_json() for field in signature.inputs])
    except ModelError as error:
        raise UserError(f"{path}: {error}") from None
    return entries


def with_entries(metadata: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with ``entries`` in place of its own; the means of other latents than theirs are kept."""
    document = {**metadata, **entries}
    if isinstance(means := entries.get("latent_mean"), Mapping):
        document["latent_mean"] = {**metadata.get("latent_mean", {}), **means}
    return document
