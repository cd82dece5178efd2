"""``ganzoo export``."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ganzoo import UserError, cli, load_registry, read_directions
from ganzoo.inference.zoo import model_file

__all__ = ["export"]


def export(
    run: Annotated[
        str,
        typer.Argument(
            help="The run: its folder, its number, or 'last', the newest one. For --web, --triton and --directions "
            "zoo:NAME or an .onnx file too."
        ),
    ] = "last",
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an .onnx file: the same as --format onnx.")] = False,
    format: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="What to write: onnx, pt2 ('ganzoo list format'); as --out ends if left out."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; 'generator' in the run folder if left out. With --all the folder."),
    ] = None,
    every_network: Annotated[
        bool, typer.Option("--all", help="Every network of the model, the discriminator as well, a file each.")
    ] = False,
    pixels: Annotated[
        Literal["nhwc", "nchw"] | None,
        typer.Option(case_sensitive=False, help="Let the file give uint8 images in this layout."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="The arithmetic inside: fp16 for wide networks and large batches on GPUs, int8 for CPUs."),
    ] = "fp32",
    target: Annotated[
        Literal["any", "cpu"],
        typer.Option(
            "--for",
            help="What runs the file: with cpu it has the form that is fastest there, for other languages; ganzoo's "
            "own runtime makes it of any file.",
        ),
    ] = "any",
    directions: Annotated[
        Path | None,
        typer.Option(help="A file of 'ganzoo directions' to put into the metadata; it may include a mean latent."),
    ] = None,
    web: Annotated[Path | None, typer.Option(help="Write a static web page with the model to this folder.")] = None,
    ort: Annotated[
        Path | None,
        typer.Option(help="onnxruntime-web for the page, as .tgz or unpacked; fetched with npm if left out."),
    ] = None,
    triton: Annotated[
        Path | None, typer.Option(help="Put the model into this repository of the Triton Inference Server.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are looked for by number, and the newest one.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the file's metadata as JSON.")] = False,
) -> None:
    """Export a trained generator, compared with torch.

    The weights are the averaged ones. A model of the zoo and a file are exported already: they become a page, a model
    of Triton's or, with --directions, another file as they are.
    """
    if ort is not None and web is None:
        raise UserError("--ort is for the page: give --web DIR too")
    entries = read_directions(directions) if directions is not None else None
    with model_file(run, load_registry()) as file:
        if file is not None:
            given = {"--out": out and not entries, "--all": every_network, "--pixels": pixels}
            given |= {"--format": format not in (None, "onnx"), "--precision": precision != "fp32"}
            given |= {"--for": target != "any", "--json": as_json}
            if wrong := [name for name, value in given.items() if value]:
                raise UserError(f"{run} is exported already: --web and --triton take it as it is, without {wrong[0]}")
            if web is None and triton is None and out is None:
                raise UserError(
                    f"{run} is exported already: make a page of it with --web DIR, or give --triton DIR, or --out FILE "
                    "with --directions"
                )
            _use_again(file, entries, out, web, ort, triton)
            return
    key = _key(onnx, format, None if every_network else out)
    if key != "onnx" and (web or triton):
        raise UserError(f"{'--web' if web else '--triton'} is made of an .onnx file: give --onnx")
    import ganzoo

    layout: Literal["NCHW", "NHWC"] | None = None
    if pixels is not None:
        layout = "NHWC" if pixels == "nhwc" else "NCHW"
    written = ganzoo.export(
        run,
        out,
        format=key,
        every_network=every_network,
        pixels=layout,
        precision=precision,
        target=target,
        metadata=entries,
        runs=runs,
    )
    if not as_json:
        for path, document in written.items():
            _report(path, document)
    model = next(iter(written))  # the first network is the generator
    _use(model, web, ort, triton)
    if as_json:
        documents = {str(path): document for path, document in written.items()}
        cli.print(json.dumps(documents if every_network else documents[str(model)], indent=2))


def _use_again(
    model: Path,
    entries: dict[str, Any] | None,
    out: Path | None,
    web: Path | None,
    ort: Path | None,
    triton: Path | None,
) -> None:
    """Use an .onnx file as it is, or a copy with other ``entries`` in its metadata, which is kept as ``out``."""
    from ganzoo_exporters.document import write_copy

    if out is not None and out.suffix.lower() != ".onnx":
        raise UserError(f"--out is an .onnx, as {model.name} is, not {out}")
    with tempfile.TemporaryDirectory() as folder:
        if entries is not None:
            copy = out or Path(folder, model.name)
            write_copy(model, copy, entries)
            model = copy
        _use(model, web, ort, triton)
    if out is not None:
        cli.print(out)


def _use(model: Path, web: Path | None, ort: Path | None, triton: Path | None) -> None:
    """Make a page and a model of Triton's of an .onnx file, as far as they are asked for."""
    from ganzoo_exporters.triton import write_repository
    from ganzoo_exporters.web import write_page

    if web is not None:
        write_page(model, web, ort=ort)
        cli.print(f"page: {web}; to see it: python -m http.server --directory {web}", file=sys.stderr)
    if triton is not None:
        cli.print(f"model repository: {write_repository(model, triton)}", file=sys.stderr)


def _key(onnx: bool, format: str | None, out: Path | None) -> str:
    """Return the key of the format that the options name, or the suffix of ``out``; raises :class:`UserError`."""
    if onnx and format not in (None, "onnx"):
        raise UserError(f"--onnx and --format {format} are two formats; give one of them")
    key = "onnx" if onnx else format or (out.suffix.removeprefix(".") if out is not None else "")
    if not key:
        known = ", ".join(load_registry().names("format"))
        raise UserError(f"name the format: ganzoo export --onnx, or --format and one of {known}")
    return key


def _report(path: Path, document: Mapping[str, Any]) -> None:
    size = sum(file.stat().st_size for file in (path, *path.parent.glob(f"{path.stem}-*.data"))) / 1e6
    text, parity = f"{size:.2f} MB", document.get("parity", {})
    if {"max_difference", "batches"} <= parity.keys():  # a third party's format may say nothing of it
        batches = ", ".join(map(str, parity["batches"]))
        text += f"; largest difference to torch {parity['max_difference']:.1e} at batch sizes {batches}"
    if "psnr" in parity:
        comparison = path.with_suffix(".int8.png")
        text += f"; mean {parity['mean_difference']:.1e}, signal to noise {parity['psnr']:.1f} dB"
        text += f"; float32 and int8 beside each other: {comparison}" if comparison.is_file() else ""
    cli.print(text, file=sys.stderr)
    if document.get("license"):
        cli.print(f"license of the weights: {document['license']}", file=sys.stderr)
    cli.print(path)
