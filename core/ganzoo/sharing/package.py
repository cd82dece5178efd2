"""What is shared of a run: its networks as files, weights, config, samples and a model card, listed in a manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import tomli_w

from ganzoo.errors import UserError
from ganzoo.files import atomic_path, parse_json, write_atomic
from ganzoo.inference.zoo import MANIFEST, NAME, WEIGHTS
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from ganzoo.gan.networks import Network
    from ganzoo.plugin.registry import Registry
    from ganzoo.runs.run import Run

__all__ = ["Manifest", "digest", "packaged", "read_manifest", "write_model"]

CARD = "README.md"

_LIMIT = 2**20  # bytes of a manifest

_FILES = 64

_MOST = 2**35  # bytes of a model, 32 GB

_KNOWN = {
    *("apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    *("gpl-3.0", "mit", "openrail", "unlicense"),
}
"""Licenses as the Hugging Face Hub writes them; of another it is told the name."""


@dataclass(frozen=True)
class Manifest:
    """The content of ``ganzoo.json``: what a shared model is, and sha256 and size of each file by its name."""

    main: str
    summary: str
    license: str
    data: str
    files: Mapping[str, tuple[str, int]]

    def to_json(self) -> str:
        """Return the file's text."""
        files = {name: {"sha256": sha256, "size": size} for name, (sha256, size) in sorted(self.files.items())}
        about = {"main": self.main, "summary": self.summary, "license": self.license, "data": self.data}
        return json.dumps({"schema": 1, **about, "files": files}, indent=2) + "\n"

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(size for _, size in self.files.values())


def read_manifest(file: IO[bytes], name: str) -> Manifest:
    """Read a manifest that may be anybody's; ``name`` is where it is from. Raises :class:`UserError`."""
    content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise UserError(f"{name}: its {MANIFEST} has more than {_LIMIT:,} bytes")
    document = parse_json(content.decode(errors="replace"), f"{MANIFEST} of {name}")
    if not isinstance(document, dict) or document.get("schema") != 1 or not isinstance(document.get("files"), dict):
        raise UserError(f"{name}: its {MANIFEST} is none that this ganzoo reads; was it made by 'ganzoo push'?")
    files = dict[str, tuple[str, int]]()
    for key, value in document["files"].items():
        sha256, size = (value.get("sha256"), value.get("size")) if isinstance(value, dict) else (None, None)
        if not NAME.fullmatch(key) or key == MANIFEST:
            raise UserError(f"{name}: its {MANIFEST} lists {key[:80]!r}, which is no plain file name")
        if type(size) is not int or size < 0 or not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
            raise UserError(f"{name}: its {MANIFEST} has no size and sha256 of {key}")
        files[key] = (sha256, size)
    if len(files) > _FILES or len({key.lower() for key in files}) < len(files):
        raise UserError(f"{name}: its {MANIFEST} lists more than {_FILES} files, or one twice")
    if (total := sum(size for _, size in files.values())) > _MOST:
        raise UserError(f"{name}: its files have {total:,} bytes, more than the limit of {_MOST:,}")
    about = {key: document.get(key) for key in ("main", "summary", "license", "data")}
    texts = {key: " ".join(value.split())[:500] for key, value in about.items() if isinstance(value, str)}
    if len(texts) < len(about) or texts["main"] not in files:
        raise UserError(f"{name}: its {MANIFEST} does not say what it is, its license, data and main file")
    return Manifest(**texts, files=files)


@contextmanager
def packaged(run: Run, license: str, registry: Registry) -> Iterator[tuple[Path, Manifest]]:
    """Yield a temporary folder with what is shared of a run, and its manifest, which lies in it too.

    ``license`` is that of the weights; if left out, that of the weights that the run started from. Raises
    :class:`UserError` if there is neither.
    """
    with TemporaryDirectory(prefix="ganzoo-") as temporary:
        folder = Path(temporary)
        written = write_model(run, folder, license, registry)
        main, (network, metadata) = next(iter(written.items()))
        write_atomic(folder / CARD, _card(metadata, network, (folder / "samples.png").exists()))
        data = f"{metadata['data']['name']} ({counted(metadata['data']['size'], 'sample')})"
        summary = f"{metadata['model']['key']} trained on {data} for {counted(metadata['training']['step'], 'step')}"
        files = {path.name: (digest(path), path.stat().st_size) for path in folder.iterdir()}
        manifest = Manifest(main, summary, metadata["license"], data, files)
        write_atomic(folder / MANIFEST, manifest.to_json())
        yield folder, manifest


def write_model(
    run: Run, folder: Path, license: str, registry: Registry, **metadata: Any
) -> dict[str, tuple[Network, dict[str, Any]]]:
    """Write what is shared of a run but its card: networks as files, weights, config.toml and samples.

    Return the networks with the metadata of their files by the files' names, the main one first. ``license`` is as in
    :func:`packaged`; other ``metadata`` take the place of the run's.
    """
    from ganzoo.gan.networks import Discriminator
    from ganzoo.inference.formats import Format
    from ganzoo.inference.opening import load
    from ganzoo.inference.saving import save_samples

    networks = run.load_all(registry)
    license = " ".join((license or next(iter(networks.values()))[1]["license"]).split())
    if not license:
        raise UserError(f"no license is stated for the weights of {run}; state one, such as --license CC-BY-4.0")
    formats = registry.specs("format")
    if not formats:
        raise UserError("no file format is installed that a model could be exported to; see 'ganzoo plugins'")
    writer: Format = formats[0].spec.load()()
    written = {
        f"{name}.{formats[0].spec.key}": (network, {**known, **metadata, "license": license})
        for name, (network, known) in networks.items()
        if not isinstance(network, Discriminator)
    }
    for file, (network, about) in written.items():
        writer.check(network, pixels=None, precision="fp32")
        writer.export(network, folder / file, about)
    _save_weights({name: network for name, (network, _) in networks.items()}, folder / WEIGHTS)
    write_atomic(folder / "config.toml", tomli_w.dumps(_without_folders(run.document())))
    main, (network, _) = next(iter(written.items()))
    if network.signature.drawn:  # what others draw is beside images of the data, which are not ours to pass on
        save_samples(load(folder / main, registry=registry), folder / "samples.png")
    return written


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _save_weights(networks: Mapping[str, Network], path: Path) -> None:
    """Write the weights of all networks, by ``network.name``, as ``ganzoo train --from`` reads them.

    Those of a network that is a part of another one are in that one's.
    """
    from safetensors.torch import save_file

    parts = {part for network in networks.values() for part in network.modules() if part is not network}
    tensors = {
        f"{name}.{key}": tensor.detach().cpu().clone().contiguous()  # networks may share what safetensors holds once
        for name, network in networks.items()
        if network not in parts
        for key, tensor in network.state_dict().items()
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)


def _without_folders(value: Any) -> Any:
    """Return a document with the last part of each absolute path alone: folders say whose machine it was."""
    if isinstance(value, dict):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    absolute = isinstance(value, str) and re.match(r"[/~\\]|[A-Za-z]:[/\\]", value)
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if absolute else value


def _card(metadata: Mapping[str, Any], network: Network, pictured: bool) -> str:
    model, data, training = metadata["model"], metadata["data"], metadata["training"]
    spelled = metadata["license"].lower()
    tagged = (
        [f"license: {spelled}"] if spelled in _KNOWN else ["license: other", f"license_name: {json.dumps(spelled)}"]
    )
    loss = f" with the loss `{training['loss']}`" if training["loss"] else ""
    figures = [f"| {key} | {value:.4g} |" for key, value in metadata["metrics"].items()]
    signature = network.signature
    use = "sample zoo:USER/NAME --out samples.png" if signature.drawn else "translate zoo:USER/NAME IN OUT"
    lines = [
        *("---", *tagged, "library_name: ganzoo", "tags: [gan, onnx]", "---"),
        f"# {model['key']} on {data['name']}\n",
        f"- Model: `{model['key']}` of {model['plugin']} {model['version']}",
        *([f"- Paper: {metadata['paper']}"] if metadata["paper"] else []),
        f"- Draws: {signature.output.describe()}, from {' and '.join(each.describe() for each in signature.inputs)}",
        f"- Data: {data['name']}, {counted(data['size'], 'sample')}",
        f"- Training: {counted(training['step'], 'step')}{loss}, seed {training['seed']}; "
        "the weights are the averaged ones",
        f"- License of the weights: {metadata['license']}\n",
        *(["![samples](samples.png)\n"] if pictured else []),
        *(["## Figures\n", "| figure | value |", "| --- | --- |", *figures, ""] if figures else []),
        f"## Use\n\n    ganzoo pull SOURCE --as USER/NAME\n    ganzoo {use}",
        "    ganzoo train --from zoo:USER/NAME --data FOLDER\n",
        f"The weights are learned from {data['name']}, whose license may bind them too, and a generator can reproduce",
        "single training samples.\n",
    ]
    return "\n".join(lines)
