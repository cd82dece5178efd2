"""``ganzoo data``: images packed for training, and what a network will see of data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganzoo import UserError, cli
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from ganzoo import Dataset

__all__ = ["data"]

_READ = 1024  # samples that statistics are computed from
_CHANNELS = 32  # channels or columns that statistics are shown of

data = typer.Typer(
    help="Pack images for training, and show what a network will see.", add_completion=False, rich_markup_mode=None
)


@data.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="The folder of images; it is not changed.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="The side, or height x width, to resize to; as they are if unset."),
    ] = None,
    resize: Annotated[
        Literal["crop", "stretch"], typer.Option(help="crop: fill the size and cut the center; stretch: distort.")
    ] = "crop",
    mode: Annotated[Literal["rgb", "grey", "rgba"], typer.Option(help="What the images are turned into.")] = "rgb",
    format: Annotated[
        Literal["png", "bmp", "jpg"],
        typer.Option(help="png; bmp: as exact, larger, read several times as fast; jpg: small, not exact."),
    ] = "png",
    tar: Annotated[bool, typer.Option("--tar", help="Write .tar files, for the data set shards.")] = False,
    keep_copies: Annotated[
        bool, typer.Option("--keep-copies", help="Keep images whose pixels another one has.")
    ] = False,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Images of more pixels are left out, before they are decoded.")
    ] = 2**27,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Resize, crop and convert the images of a folder once, so that a training reads them fast.

    Broken images and copies are left out and named in OUT/report.json. Called again after it was stopped, it goes on.
    """
    from ganzoo_plugins.datasets.packing import Packing, pack_folder

    found = pack_folder(
        folder, out, Packing(_size(size), resize, mode, format, tar, keep_copies, max_pixels), quiet=quiet
    )
    if json_:
        cli.print(json.dumps(found))
        return
    cli.print(
        f"{found['written']:,} of {counted(found['found'], 'image')} in {out}: {found['bytes_before']:,} bytes were "
        f"read, {found['bytes_after']:,} written"
    )
    if found["written"]:
        cli.print(
            f"sizes before: {' x '.join(map(str, found['smallest']))} to {' x '.join(map(str, found['largest']))}"
        )
    for name, count in found["classes"].items():
        cli.print(f"class {name}: {count:,}")
    for what in ("copies", "broken"):
        if found[what]:
            cli.print(f"{what} left out: {len(found[what]):,}, such as {next(iter(found[what]))}; see report.json")
    cli.print(out)


@data.command()
def show(
    data: Annotated[str, typer.Argument(help="The name of a data set, or a folder of images.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the data, as in data.size=64.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The .png file of the samples.")] = Path("data.png"),
    json_: Annotated[bool, typer.Option("--json", help="Print what is found as JSON.")] = False,
) -> None:
    """Draw samples as a network will see them; print their number, kinds, classes and values."""
    from ganzoo.inference.reals import save_reals

    if out.suffix.lower() != ".png":
        raise UserError(f"--out is a .png file, not {out}")
    dataset = _built(data, set_ or [])
    facts = _facts(dataset)
    save_reals(out, dataset)
    if json_:
        cli.print(json.dumps(facts | {"picture": str(out)}))
        return
    cli.print(
        f"{facts['name']}: {counted(facts['samples'], 'sample')}, "
        f"{'in memory' if facts['in_memory'] else 'read as needed'}"
    )
    for field in facts["fields"]:
        cli.print(f"{field['name']}: {field['what']}")
        for name, count in field.get("classes", {}).items():
            cli.print(f"  {name}: {count:,}")
        for channel in field.get("values", []):
            cli.print("  " + ", ".join(f"{name} {value:.4g}" for name, value in channel.items()))
    if facts["read"] < facts["samples"]:
        cli.print(f"values are those of {counted(facts['read'], 'sample')} from all over the data")
    cli.print(out)


def _built(data: str, sets: list[str]) -> Dataset:
    """Return the data set of a name or a folder, with its settings."""
    from ganzoo.config.config import Choice
    from ganzoo.config.data_choice import choose_data
    from ganzoo.config.merging import merge, parse_set
    from ganzoo.config.validation import validate
    from ganzoo.plugin.registry import load_registry

    registry, chosen = choose_data(load_registry(), data)
    for text in sets:
        layer = parse_set(text)
        if list(layer) != ["data"] or not isinstance(layer["data"], dict):
            raise UserError(f"--set {text}: here it is a setting of the data, as in --set data.size=64")
        chosen = merge(chosen, layer["data"])
    entry = registry.get("dataset", chosen.pop("name"))
    settings = validate(entry.spec.load().Config, "data", {**entry.spec.defaults, **chosen})
    built: Dataset = Choice(entry, settings).build()
    return built


def _facts(dataset: Dataset) -> dict[str, Any]:
    """Return the number of samples, and of each field its classes or the values of its channels."""
    import torch

    from ganzoo import Label

    rows = dataset.spread(_READ)
    batch = dataset.batch(rows, torch.Generator().manual_seed(0)) | dataset.known
    fields = []
    for field in dataset.spec.fields:
        found: dict[str, Any] = {"name": field.name, "what": field.describe()}
        values = batch[field.name]
        if isinstance(field, Label):
            counts = torch.bincount(values, minlength=field.classes).tolist()
            names = field.names or tuple(map(str, range(field.classes)))
            found["classes"] = dict(zip(names, counts, strict=True))
            found["counted"] = len(values)
        elif values.is_floating_point() or values.dtype == torch.uint8:
            # The mean and deviation of each channel, or column: what normalization will make of it.
            parts = values.double().transpose(0, 1).flatten(1) if values.ndim > 1 else values.double()[None]
            found["values"] = [
                {"min": part.min().item(), "mean": part.mean().item(), "std": part.std(correction=0).item(),
                 "max": part.max().item()}
                for part in parts[:_CHANNELS]
            ]  # fmt: skip
        fields.append(found)
    name, read = dataset.spec.name, len(rows)
    return {"name": name, "samples": len(dataset), "in_memory": dataset.in_memory, "read": read, "fields": fields}


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    sides = [height, width or height]
    if not all(side.isascii() and side.isdigit() and 1 <= int(side[:6]) <= 16384 for side in sides):
        raise UserError(f"--size is a side from 1 to 16384, or HEIGHTxWIDTH, not {text!r}")
    return int(sides[0]), int(sides[1])
