"""From a finished run to files of any format that a plugin offers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from inspect import Parameter, signature
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ganzoo.errors import GanzooError, UserError, one_of, path_of
from ganzoo.fields import Image
from ganzoo.gan.networks import mixes_samples
from ganzoo.inference.directions import with_entries
from ganzoo.inference.formats import Format
from ganzoo.plugin.registry import Registry, load_registry
from ganzoo.runs.naming import ROOT, Name
from ganzoo.runs.run import Run

__all__ = ["export"]

_log = logging.getLogger("ganzoo")


def export(
    run: Name = "last",
    out: str | PathLike[str] | None = None,
    *,
    format: str | None = None,
    every_network: bool = False,
    pixels: Literal["NCHW", "NHWC"] | None = None,
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    target: Literal["any", "cpu"] = "any",
    metadata: Mapping[str, Any] | None = None,
    runs: str | PathLike[str] = ROOT,
) -> dict[Path, Mapping[str, Any]]:
    """Write the trained generator of a run to a file, compared with torch, and return its metadata by the path.

    ``run`` is a run, its path, its number in the folder ``runs``, or ``"last"``, the newest one there. Neither its data
    set nor its loss has to be installed. The weights are the averaged ones.

    ``format`` is the key of an installed format, which is the suffix of its files; by default that of ``out``, or the
    first that is installed. ``out`` is the file, by default ``generator`` with that suffix in the run folder. With
    ``every_network`` each network of the run becomes a file that is called after it, the discriminators as well, and
    ``out`` is their folder; the main network is the first of the result. A discriminator that scores samples together
    (minibatch deviation) is left out, and named in a warning of the logger ``ganzoo``.

    With ``pixels`` the file returns uint8 images in that layout instead of float32 ones in the range of the signature;
    ``precision`` is that of the arithmetic inside, and inputs stay as they are. A file suits all devices, and ganzoo's
    runtime makes of it what is fastest on a CPU; with the ``target`` ``"cpu"`` that form is in the file, for other
    runtimes. ``metadata`` are entries that are added to those of the run or take their place, such as ``"directions"``,
    ``"latent_mean"`` and ``"license"``. Of several networks, those that return no images have no pixels, and only those
    with latents have directions.

    Raises :class:`~ganzoo.UserError` before anything is written if there is no such run or format, or if a network does
    not allow what is asked for, and :class:`~ganzoo.GanzooError` if a file differs from torch by more than the
    format's tolerance; that file is not written then.
    """
    one_of("pixels", pixels, (None, "NCHW", "NHWC"))
    one_of("precision", precision, ("fp32", "fp16", "int8"))
    one_of("target", target, ("any", "cpu"))
    registry = load_registry()
    path = None if out is None else path_of("out", out)
    key = format or _format_of(registry, None if every_network else path)
    writer: Format = registry.get("format", key).spec.load()()
    if path is not None and not every_network and path.suffix != f".{key}":
        raise UserError(f"a file of the format {key} ends in .{key}, not {path}")
    if path is not None and every_network and (path.suffix == f".{key}" or path.is_file()):
        raise UserError(f"every network is a file of its own, so what is written to is a folder, not {path}")
    run = run if isinstance(run, Run) else Run.open(run, runs)
    networks = run.load_all(registry)
    if not every_network:
        networks = dict([next(iter(networks.items()))])
    for name in [name for name, (network, _) in networks.items() if mixes_samples(network)]:
        _log.warning("the %s is left out: it scores the samples of a batch together, so it works for none alone", name)
        del networks[name]
    asked: dict[str, dict[str, Any]] = {}
    for name, (network, _) in networks.items():  # all of them, before the first is written
        layout = pixels if isinstance(network.signature.output, Image) or not every_network else None
        asked[name] = {"pixels": layout, "precision": precision}
        if target != "any":  # a format that knows no targets need not know of them
            asked[name]["target"] = target
        try:
            _check_options(key, writer, asked[name])
            writer.check(network, **asked[name])
        except UserError as error:
            raise UserError(f"{name}: {error}" if every_network else str(error)) from None
    written: dict[Path, Mapping[str, Any]] = {}
    inputs = {field.name for network, _ in networks.values() for field in network.signature.inputs}
    for name, (network, known) in networks.items():
        file = path if path is not None and not every_network else (path or run.path) / f"{name}.{key}"
        added = dict(metadata or {})
        if every_network:  # directions and means go to the networks that take what they are of
            others = inputs - {field.name for field in network.signature.inputs}
            added = {entry: _without(others, entry, value) for entry, value in added.items()}
        document = writer.export(network, file, with_entries(known, added), **asked[name])
        if not isinstance(document, Mapping) or not file.is_file():
            raise GanzooError(f"the format {key} did not write {file} and return its metadata, which is its mistake")
        written[file] = document
    return written


def _without(others: Collection[str], entry: str, value: Any) -> Any:
    """Return an entry of the metadata without directions and means of ``others``, the inputs of other networks alone.

    What no network has stays, and what is malformed: it is refused where the document is checked.
    """
    match entry, value:
        case "directions", Mapping():
            return {
                name: each
                for name, each in value.items()
                if not (isinstance(each, Mapping) and isinstance(each.get("latent"), str) and each["latent"] in others)
            }
        case "latent_mean", Mapping():
            return {name: each for name, each in value.items() if name not in others}
    return value


def _check_options(key: str, writer: Format, asked: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` for an option that a format does not know of."""
    for function in (writer.check, writer.export):
        known = signature(function).parameters
        left = {name for name in asked if name not in known}
        if left and not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values()):
            raise UserError(f"the format {key} takes no {' and no '.join(sorted(left))}")


def _format_of(registry: Registry, path: Path | None) -> str:
    """Return the key of the format that a path's suffix names, or of the first one; raises :class:`UserError`."""
    known = [entry.spec.key for entry in registry.specs("format")]
    if not known:
        raise UserError("no file format is installed that a model could be exported to; see 'ganzoo plugins'")
    return path.suffix.removeprefix(".") if path is not None and path.suffix else known[0]
