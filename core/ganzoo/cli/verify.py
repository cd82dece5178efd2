"""``ganzoo verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ganzoo.terminal import print

__all__ = ["verify"]


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Images, model files or run folders.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what image files and models say of where they come from.

    The exit code is 0 if all of them say that a machine has made them or say which model they are, and 1 if one does
    not. What a file says is not proven: anyone can change it, and a screenshot has lost it.
    """
    from ganzoo_runtime.marking import as_sentence, is_generated

    found = [{"file": str(file), **_read(file)} for file in files]
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for record in found:
            claims = record["claims"]
            if record["kind"] == "model":
                print(f"{record['file']}: a model: {', '.join(f'{key} {value}' for key, value in claims.items())}")
            elif is_generated(claims):
                print(f"{record['file']}: {as_sentence(claims)} ({claims['source_type'].rpartition('/')[2]})")
            else:
                others = f", only {claims['source_type']}" if "source_type" in claims else ""
                print(f"{record['file']}: says nothing of a machine that has made it{others}")
    if not all(record["found"] for record in found):
        raise typer.Exit(1)


def _read(file: Path) -> dict[str, Any]:
    """Return what a file is and claims; raises :class:`UserError` for what is neither an image nor a model."""
    import hashlib

    from ganzoo.files import open_regular
    from ganzoo.images.marking import read_claims
    from ganzoo.inference.opening import load
    from ganzoo.plugin.registry import load_registry
    from ganzoo_runtime.marking import is_generated, provenance

    digest = {}
    if not file.is_dir():
        with open_regular(file) as content:
            digest["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    formats = [f".{entry.spec.key}" for entry in load_registry().specs("format")]
    if file.is_dir() or file.suffix.lower() in formats:
        claims = provenance(load(str(file)).metadata)
        del claims["source_type"]  # that of what it draws
        return {"kind": "model", "found": "model" in claims, "claims": claims, **digest}
    claims = read_claims(file)
    return {"kind": "image", "found": is_generated(claims), "claims": claims, **digest}
