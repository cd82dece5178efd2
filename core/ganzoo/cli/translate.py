"""``ganzoo translate``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganzoo.cli.conditions import Model, Seed
from ganzoo.cli.images import MAX_PIXELS, Background, MaxPixels, Source, each_image, image_reader
from ganzoo.errors import UserError
from ganzoo.terminal import print

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image as Pillow

    from ganzoo.fields import Signature
    from ganzoo.images.reading import ImageReader

__all__ = ["translate"]

_FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
_SIDES = {"JPEG": 65_500, "WEBP": 16_383}
"""The longest side of an image that a format has room for."""


def translate(
    model: Model,
    source: Source,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The image to write, or the folder.")],
    network: Annotated[
        str | None,
        typer.Option(help="Which of the model's networks, such as b_to_a; the main one, a_to_b, if left out."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="For inpainting: an image, white where the hole is; if left out, the hole is where IN is transparent."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many answers of a model that is given a latent.")] = 1,
    background: Background = "white",
    max_pixels: MaxPixels = None,
    seed: Seed = 0,
) -> None:
    """Translate images, or fill the holes in them.

    Images may have any size and format. A network that works at any size keeps it, and draws large images in tiles
    unless it needs all of one at once; for others they are scaled and cut to its own. What cannot be read in a folder
    is skipped and named at the end.
    """
    from ganzoo.fields import Image, Latent, Signature
    from ganzoo.inference.opening import open_model
    from ganzoo.inference.translation import UNTILED, Translator

    if seed < 0:
        raise UserError(f"--seed is at least 0, not {seed}")
    sampler = open_model(model, network=network)
    signature = Signature.from_json(sampler.metadata["signature"])
    kinds = [field.kind for field in signature.inputs]
    taken = signature.inputs[0]
    if not isinstance(taken, Image) or not isinstance(signature.output, Image) or set(kinds[1:]) - {"mask", "latent"}:
        raise UserError(
            f"{model} draws from {' and '.join(kinds)}, so there is nothing to translate; see ganzoo sample"
        )
    if n > 1 and not any(isinstance(field, Latent) for field in signature.inputs):
        raise UserError("this model has one answer for an image; leave -n out")
    if mask is not None and "mask" not in kinds:
        raise UserError("this model takes no mask; leave --mask out")
    folder = source.is_dir() or target.is_dir() or not target.suffix
    _check_target(source, target, folder, signature.output.channels)
    reader = image_reader(taken, background, max_pixels)
    read_hole = _holes(reader, mask) if "mask" in kinds else None
    translator = Translator(sampler, max_pixels or UNTILED, MAX_PIXELS)

    def read(path: Path) -> tuple[Pillow.Image, Pillow.Image | None]:
        image, hole = read_hole(path) if read_hole is not None else (reader.read(path), None)
        translator.check(image)
        if not folder and taken.multiple is not None:
            _check_side(target, max(image.size))
        return image, hole

    latents = _latents(signature, n, seed)
    done: set[Path] = set()
    for path, given in each_image(source, read):
        if source.is_dir():
            out = target / path.relative_to(source).with_suffix(".png")
            if out in done:  # two images that differ in their suffixes alone
                out = out.with_name(f"{path.name}.png")
        else:
            out = target / f"{path.stem}.png" if folder else target
        done.add(out)
        for index in range(n):
            others = {name: rows[index : index + 1] for name, rows in latents.items()}
            drawn = translator(*given, others, _show_progress)
            if index + 1 == n:
                del given  # writing a large image may take as much memory again
            _write(out if n == 1 else out.with_stem(f"{out.stem}-{index}"), drawn)
    print(f"{len(done)} translated by {sampler.device}", file=sys.stderr)
    print(target)


def _check_target(source: Path, target: Path, folder: bool, channels: int) -> None:
    """Raise :class:`UserError` if OUT is not what is to be written, or would overwrite what is read."""
    if source.is_dir() and target.exists() and not target.is_dir():
        raise UserError(f"OUT is a folder, not {target}")
    if source.is_dir() and target.resolve() == source.resolve():
        raise UserError(f"OUT is {source} itself, whose images would be overwritten; name another folder")
    if folder:
        return
    if (form := _FORMATS.get(target.suffix.lower())) is None:
        raise UserError(f"OUT is an image ({', '.join(suffix[1:] for suffix in _FORMATS)}) or a folder, not {target}")
    if channels == 4 and form == "JPEG":
        raise UserError(f"this model draws transparency, which a JPEG has not: write a .png in place of {target}")


def _check_side(target: Path, side: int) -> None:
    """Raise :class:`UserError` if the format has no room for an image so high or wide."""
    form = _FORMATS[target.suffix.lower()]
    if side > (most := _SIDES.get(form, side)):
        raise UserError(
            f"an image of {side:,} pixels a side is too large for {form}, which ends at {most:,}: write a .png"
        )


def _holes(reader: ImageReader, mask: Path | None) -> Callable[[Path], tuple[Pillow.Image, Pillow.Image]]:
    """Return what reads an image and its hole: what is white in the mask, or transparent in the image."""
    from ganzoo.images.reading import ImageReader, transparent

    if mask is None:
        keeping = replace(reader, mode="rgba")

        def read(path: Path) -> tuple[Pillow.Image, Pillow.Image]:
            image = keeping.read(path)
            hole = transparent(image)
            if hole is None:
                raise UserError(f"{path} is nowhere transparent: say with --mask FILE where the hole is")
            return reader.convert(image), hole

        return read
    grey = ImageReader("grey", max_pixels=reader.max_pixels, setting=reader.setting).read(mask)
    hole = grey.point(lambda value: 255 if value >= 128 else 0)

    def read_beside(path: Path) -> tuple[Pillow.Image, Pillow.Image]:
        image = reader.read(path)
        if hole.size != image.size:
            raise UserError(
                f"the mask is {hole.width} x {hole.height}, and {path} {image.width} x {image.height}; "
                "make them one size"
            )
        return image, hole

    return read_beside


def _latents(signature: Signature, n: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return ``n`` rows of every latent by its name."""
    from ganzoo.fields import Latent

    fields = tuple(field for field in signature.inputs if isinstance(field, Latent))
    if not fields:
        return {}
    from ganzoo.inference.sampling import draw_inputs

    drawn = draw_inputs(replace(signature, inputs=fields), n, seed)
    return {field.name: rows.numpy() for field, rows in zip(fields, drawn, strict=True)}


def _show_progress(done: int, tiles: int) -> None:
    print(f"tile {done} of {tiles}", end="\r" if done < tiles else "\n", file=sys.stderr, flush=True)


def _write(path: Path, image: Pillow.Image) -> None:
    from ganzoo.files import atomic_path

    form = _FORMATS[path.suffix.lower()]
    options = {"quality": 95} if form in ("JPEG", "WEBP") else {}
    with atomic_path(path) as temporary:
        image.save(temporary, form, **options)
