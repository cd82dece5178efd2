"""``ganzoo verify`` and ``ganzoo sign``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ganzoo import UserError, cli, files, load, load_registry
from ganzoo.runs.naming import ZOO

__all__ = ["sign", "verify"]


_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
_LARGEST = 2**30  # bytes of an image that is signed
_SECRET = 2**20  # bytes of a certificate or a key


def verify(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Images, model files, run folders or zoo:NAME.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what images and models say of where they come from.

    The exit code is 0 if all of them say that a machine has made them, or which model they are, and 1 if one does not.
    At a file that is neither, it ends with one sentence and exit code 2.
    What a file says is not proven: anyone can change it, and a screenshot has lost it. Signatures (C2PA) are checked
    where c2pa-python is installed.
    """
    records = []
    for path in paths:
        records.append({"file": str(path), **_read(path)})
        if not as_json:  # before another is read, which may be no image
            cli.print(_verdict(records[-1]))
    if as_json:
        cli.print(json.dumps(records, indent=2))
    if not all(record["found"] for record in records):
        raise typer.Exit(1)


def _verdict(record: Mapping[str, Any]) -> str:
    from ganzoo_runtime.marking import as_sentence, is_generated

    claims, signature = record["claims"], record.get("signature")
    if record["kind"] == "model":
        says = f"a model: {', '.join(f'{key} {value}' for key, value in claims.items())}"
    elif is_generated(claims):
        says = f"{as_sentence(claims)} ({claims['source_type'].rpartition('/')[2]})"
    else:
        others = f", only {claims['source_type']}" if "source_type" in claims else ""
        says = f"says nothing of a machine that has made it{others}"
    if signature:
        problems = f" ({', '.join(signature['problems'])})" if signature["problems"] else ""
        says += f"; signed by {signature['by']}, {signature['state']}{problems}"
    return f"{record['file']}: {says}"


def sign(
    image: Annotated[Path, typer.Argument(metavar="FILE", help="An image that ganzoo has drawn: png, jpg, webp, gif.")],
    certificate: Annotated[Path, typer.Option(help="The certificate, and those it is signed by, as PEM.")],
    key: Annotated[Path, typer.Option(help="The private key of the certificate, PKCS#8 as PEM.")],
    algorithm: Annotated[
        Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"],
        typer.Option(help="That of the key."),
    ] = "es256",
    out: Annotated[Path | None, typer.Option(help="Another file to write; FILE itself if left out.")] = None,
) -> None:
    """Sign what an image says of where it comes from, by C2PA.

    Nothing is sent anywhere, so the signature has no time of an authority. Needs c2pa-python.
    """
    import io

    from ganzoo.images.marking import read_claims
    from ganzoo_runtime.marking import as_sentence, is_generated

    try:
        c2pa: Any = import_module("c2pa")
    except ImportError:
        raise UserError("signatures need c2pa-python: pip install c2pa-python") from None
    out = out or image
    kind = _TYPES.get(image.suffix.lower())
    if kind is None or _TYPES.get(out.suffix.lower()) != kind:
        raise UserError(f"what is signed is one of {', '.join(_TYPES)}, and stays it, not {image} to {out}")
    claims = read_claims(image)
    if not is_generated(claims):
        raise UserError(f"{image} does not say that a machine has made it, which is what would be signed")
    action = {
        "action": "c2pa.created",
        "digitalSourceType": claims["source_type"],
        "description": as_sentence(claims),
        "softwareAgent": {"name": "ganzoo"},
    }
    manifest = {
        "claim_generator_info": [{"name": "ganzoo"}],
        "title": image.name,
        "format": kind,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    secrets = [files.read_bytes(path, _SECRET) for path in (certificate, key)]
    content, signed = files.read_bytes(image, _LARGEST), io.BytesIO()
    try:
        about = c2pa.C2paSignerInfo(algorithm, *secrets, None)
        with c2pa.Signer.from_info(about) as signer, c2pa.Builder(manifest) as builder:
            builder.sign(signer, kind, io.BytesIO(content), signed)
    except Exception as error:  # whatever the library says of a certificate, a key or an image
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"{image} cannot be signed with {certificate} and {key}: {reason}") from None
    files.write_atomic(out, signed.getvalue())
    cli.print(f"signed, {algorithm}", file=sys.stderr)
    cli.print(out)


def _read(file: Path) -> dict[str, Any]:
    """Return what a file is and claims; raises :class:`UserError` for what is neither an image nor a model."""
    import hashlib

    from ganzoo.images.marking import read_claims
    from ganzoo_runtime.marking import is_generated, provenance

    digest = {}
    no_file = file.is_dir() or file.as_posix().startswith(ZOO)
    if not no_file:
        with files.open_regular(file) as content:
            digest["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    formats = [f".{entry.spec.key}" for entry in load_registry().specs("format")]
    if no_file or file.suffix.lower() in formats:
        claims = provenance(load(file.as_posix()).metadata)
        del claims["source_type"]  # that of what it draws
        return {"kind": "model", "found": "model" in claims, "claims": claims, **digest}
    claims = read_claims(file)
    found = {"kind": "image", "found": is_generated(claims), "claims": claims, **digest}
    return {**found, "signature": signature} if (signature := _signature(file)) else found


def _signature(file: Path) -> Mapping[str, Any] | None:
    """Return who has signed an image and whether that holds, if anyone has and the library for it is installed."""
    kind = _TYPES.get(file.suffix.lower())
    try:
        c2pa: Any = import_module("c2pa")
    except ImportError:
        return None
    if kind is None:
        return None
    try:
        # By default the library would fetch what an image names.
        context = c2pa.Context.from_dict(_OFFLINE)
        with files.open_regular(file, _LARGEST) as content:
            reader = c2pa.Reader.try_create(kind, content, context=context)
            found = json.loads(reader.json()) if reader is not None else None
    except UserError:
        raise
    except Exception as error:  # a broken manifest
        return {"by": "someone", "state": "unreadable", "problems": [" ".join(str(error).split())[:200]]}
    if found is None:
        return None
    by = found.get("manifests", {}).get(found.get("active_manifest"), {}).get("signature_info", {})
    problems = [str(each.get("code")) for each in found.get("validation_status", [])]
    return {"by": by.get("issuer", "someone"), "state": found.get("validation_state", "?"), "problems": problems}
