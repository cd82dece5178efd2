"""A static web page with a model in it, for any web host; after loading it needs neither a server nor a network."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ganzoo import UserError
from ganzoo.files import open_regular, read_bytes, write_atomic
from ganzoo_runtime.cache import cache_folder
from ganzoo_runtime.captions import is_caption
from ganzoo_runtime.cpu import for_cpu
from ganzoo_runtime.file_checks import read_model

__all__ = ["ORT", "write_page"]

ORT = "1.30.0"
"""The version of onnxruntime-web that the page is tested with."""

_INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_LARGEST = 2**31  # bytes of a file; a page of more loads nowhere
_ORT_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.jspi.min.mjs",
    "ort-wasm-simd-threaded.jspi.mjs",
    "ort-wasm-simd-threaded.jspi.wasm",
)
_PAGE_FILES = ("icon.svg", "page.css", "page.js", "worker.js", "generator.js", "philox.js", "index.html")
_KINDS = {"latent", "truncation", "styles", "label", "attributes"}  # of inputs that the page knows
_OURS = '<meta name="generator" content="ganzoo" />'


def write_page(model: Path, folder: Path, *, ort: Path | None = None) -> None:
    """Write a page that samples from the model in a browser to ``folder``: 32 MB, of which a browser loads 15 or 17.

    ``model`` is a generator of images or texts from noise that ganzoo exported to ONNX. ``ort`` is onnxruntime-web: an
    unpacked package, or the ``.tgz`` of version :data:`ORT`. By default this ``.tgz`` is fetched with npm, once, and
    kept in the cache (``$GANZOO_CACHE``, or ``ganzoo`` in the user's cache folder); its SHA-512 is checked each time.

    Raises :class:`UserError` if the model is none for a page, if onnxruntime-web cannot be had, or if the folder holds
    a page of somebody else's.
    """
    _check_model(model)
    index = folder / "index.html"
    if index.exists() and _OURS not in read_bytes(index).decode(errors="replace"):
        raise UserError(f"{index} is not a page of ganzoo's: choose another folder, or remove it")
    for name, data in _read_ort(ort or _fetched()).items():
        # some hosts do not know .mjs, and browsers run a module only if its media type is a script's
        write_atomic(folder / "ort" / name.replace(".mjs", ".js"), data)
    write_atomic(folder / "ort" / "LICENSE.txt", _part("ort-license.txt"))
    content = read_bytes(model, _LARGEST)
    # The page computes on the CPU unless it is told otherwise.
    write_atomic(folder / "generator.onnx", for_cpu(read_model(content, model.name)) or content)
    for name in _PAGE_FILES:  # index.html is last: what it loads is there when it is
        write_atomic(folder / name, _part(name))


def _part(name: str) -> bytes:
    return Path(__file__).with_name(name).read_bytes()


def _check_model(model: Path) -> None:
    import onnx

    from ganzoo_runtime import Generator, ModelError

    try:
        generator = Generator(model, providers=["CPUExecutionProvider"])
    except ModelError as error:
        raise UserError(str(error)) from None
    if (kind := generator.signature["output"]["kind"]) not in ("image", "tokens"):
        raise UserError(f"the page shows images and texts, and the output of {model.name} is of the kind {kind!r}")
    inputs = [field for field in generator.signature["inputs"] if not (is_caption(field) and field.get("examples"))]
    if foreign := {field["kind"] for field in inputs} - _KINDS:
        raise UserError(f"the page samples from noise, and {model.name} takes inputs of the kind {min(foreign)!r}")
    if any(tensor.external_data for tensor in onnx.load(model, load_external_data=False).graph.initializer):
        raise UserError(f"{model.name} keeps its weights in another file, since it is too large for a browser")


def _read_ort(source: Path) -> dict[str, bytes]:
    """Return the files that the page needs, by name."""
    if source.is_dir():
        dist = next((path for path in (source / "dist", source / "onnxruntime-web" / "dist") if path.is_dir()), source)
        if missing := [name for name in _ORT_FILES if not (dist / name).is_file()]:
            raise UserError(f"{source} is not an unpacked onnxruntime-web: {missing[0]} is missing")
        return {name: read_bytes(dist / name, _LARGEST) for name in _ORT_FILES}
    try:
        with open_regular(source, _LARGEST) as file:
            digest = hashlib.file_digest(file, "sha512").digest()
            if base64.b64encode(digest).decode() != _INTEGRITY:
                raise UserError(f"{source} is not the package onnxruntime-web {ORT}: its SHA-512 is another one")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:gz") as archive:
                members = {name: archive.extractfile(f"package/dist/{name}") for name in _ORT_FILES}
                return {name: member.read() for name, member in members.items() if member is not None}
    except OSError as error:
        raise UserError(f"cannot read {source}: {error.strerror or error}") from None


def _fetched() -> Path:
    """Return the ``.tgz`` from the cache; it is fetched with npm if it is missing."""
    name = f"onnxruntime-web-{ORT}.tgz"
    cached = cache_folder() / name
    if cached.is_file():
        return cached
    package = f"onnxruntime-web@{ORT}"
    cure = f"get the package {package} elsewhere, as .tgz or unpacked, and give its path with --ort"
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"the page needs {package}, and there is no npm to fetch it with: install Node.js, or {cure}")
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", package, "--ignore-scripts", "--pack-destination", temporary]
        try:
            subprocess.run(command, cwd=temporary, check=True, capture_output=True, timeout=600)
            data = (Path(temporary) / name).read_bytes()
        except (OSError, subprocess.SubprocessError):
            raise UserError(f"npm cannot fetch {package}: check the network, or {cure}") from None
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != _INTEGRITY:
        raise UserError(f"npm fetched a {package} with another SHA-512 than the published one; nothing was written")
    write_atomic(cached, data)
    return cached
