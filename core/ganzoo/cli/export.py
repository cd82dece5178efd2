"""``ganzoo export``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganzoo.errors import UserError
from ganzoo.terminal import print

if TYPE_CHECKING:
    from ganzoo.gan.networks import Network

__all__ = ["export", "register"]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(export)


def export(
    run: Annotated[str, typer.Argument(help="The run: its folder, its number, or 'last', the newest one.")] = "last",
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an .onnx file.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; generator.onnx in the run folder if left out. With --all the folder."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every network of the model, the discriminator as well, a file each.")
    ] = False,
    pixels: Annotated[
        Literal["nhwc", "nchw"] | None,
        typer.Option(case_sensitive=False, help="Let the file give uint8 images in this layout."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option(help="The arithmetic inside: fp16 for GPUs, int8 for CPUs.")
    ] = "fp32",
    directions: Annotated[
        Path | None,
        typer.Option(help="Directions that 'ganzoo directions' has found, put into the file; may have a mean latent."),
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

    The weights are the averaged ones.
    """
    if not onnx:
        raise UserError("name the format: ganzoo export --onnx; there is no other yet")
    if out is not None and not everything and out.suffix != ".onnx":
        raise UserError(f"an ONNX file ends in .onnx, not {out}")
    if out is not None and everything and (out.suffix == ".onnx" or out.is_file()):
        raise UserError(f"--all writes several files, so --out is a folder, not {out}")
    if ort is not None and web is None:
        raise UserError("--ort is for the page: give --web DIR too")
    told = _conditional(directions) if directions is not None else {}
    from ganzoo.fields import Image, Latent
    from ganzoo.inference.formats import Format
    from ganzoo.plugin.registry import load_registry
    from ganzoo.runs.run import Run

    registry = load_registry()
    source = Run.open(run, runs)
    writer: Format = registry.get("format", "onnx").spec.load()()
    networks = source.load_all(registry)
    if not everything:
        networks = dict([next(iter(networks.items()))])
    if precision == "int8" and (
        blind := [name for name, (network, _) in networks.items() if not _takes(network, Latent)]
    ):
        raise UserError(
            f"int8 is calibrated on latents, which {', '.join(blind)} does not take; take fp16, or no --all"
        )
    written: dict[str, Mapping[str, Any]] = {}
    for name, (network, metadata) in networks.items():
        folder = source.path if out is None else out
        path = out if out is not None and not everything else folder / f"{name}.onnx"
        # Of several networks, those that give no images have no pixels, and only what has latents has directions.
        images, latents = isinstance(network.signature.output, Image), _takes(network, Latent)
        layout: Literal["NCHW", "NHWC"] | None = None
        if pixels is not None and (images or not everything):
            layout = "NHWC" if pixels == "nhwc" else "NCHW"
        extra = told if latents or not everything else {}
        written[str(path)] = writer.export(network, path, {**metadata, **extra}, pixels=layout, precision=precision)
        if not as_json:
            _report(path, written[str(path)])
    model = Path(next(iter(written)))  # the first network is the generator
    if web is not None:
        writer.write_page(model, web, ort=ort)
        print(f"page: {web}; to see it: python -m http.server --directory {web}", file=sys.stderr)
    if triton is not None:
        print(f"model repository: {writer.write_repository(model, triton)}", file=sys.stderr)
    if as_json:
        print(json.dumps(written if everything else next(iter(written.values())), indent=2))


def _takes(network: Network, kind: type[Any]) -> bool:
    return any(isinstance(field, kind) for field in network.signature.inputs)


def _report(path: Path, document: Mapping[str, Any]) -> None:
    parity = document["parity"]
    size = sum(file.stat().st_size for file in (path, *path.parent.glob(f"{path.stem}-*.data"))) / 1e6
    batches = ", ".join(map(str, parity["batches"]))
    text = f"{size:.2f} MB; largest difference to torch {parity['max_difference']:.1e} at batch sizes {batches}"
    if "psnr" in parity:
        picture = path.with_suffix(".int8.png")
        text += f"; mean {parity['mean_difference']:.1e}, signal to noise {parity['psnr']:.1f} dB"
        text += f"; float32 and int8 beside each other: {picture}" if picture.is_file() else ""
    print(text, file=sys.stderr)
    print(path)


def _conditional(path: Path) -> dict[str, Any]:
    """Read directions and the mean latent."""
    from ganzoo.files import read_json

    document = read_json(path)
    if not isinstance(document, dict) or not document:
        raise UserError(f"{path} holds no directions; 'ganzoo directions' makes such a file")
    both = {"directions", "latent_mean"}
    return document if document.keys() <= both else {"directions": document}
