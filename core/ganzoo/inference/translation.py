"""Translating image files, and filling the holes in them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path

from PIL import Image as Pillow

from ganzoo.errors import UserError, at_least, path_of
from ganzoo.fields import Image, Latent
from ganzoo.files import atomic_path
from ganzoo.images.reading import ImageReader, transparent
from ganzoo.inference.opening import Model, load
from ganzoo.inference.sources import SETTING, Sources, image_reader
from ganzoo.inference.tiling import UNTILED, Translator, draw_latents
from ganzoo.terminal import print
from ganzoo_runtime.random_inputs import MOST

__all__ = ["translate"]

_FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
_SIDES = {"JPEG": 65_500, "WEBP": 16_383}
"""The longest side of an image that a format has room for."""


def translate(
    model: Model,
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    network: str | None = None,
    mask: str | PathLike[str] | None = None,
    n: int = 1,
    background: str = "white",
    max_pixels: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> list[Path]:
    """Translate an image file, or all in a folder, or fill the holes in them; return the files that were written.

    Images may have any size and format (:class:`~ganzoo.ImageReader`). A network that works at any size keeps it, and
    draws large images in tiles unless it needs all of one at once; for others they are scaled and cut to its own size.

    ``model`` is called as in :func:`ganzoo.load`, and so is its ``network``, such as ``"b_to_a"``. ``target`` is the
    image to write (png, jpg, webp, bmp or tiff), or a folder; for a folder of images it is one, and gets a .png of the
    same place in it for each; images that lie in it already are not translated. An inpainting model fills where
    ``mask``, an image of the same size, is white, or, if there is none, where the image is transparent. ``n`` different
    outputs are drawn by a model that takes a latent, from ``seed``, into files that are numbered. Transparent pixels
    are laid on the color ``background``. Images of more than ``max_pixels`` pixels are refused: by default 134 million,
    or 17 million if the network needs all of a large image at once. Progress goes to stderr unless ``quiet``; what
    cannot be read in a folder is skipped, and named in a warning of the logger ``ganzoo``. Images in memory are
    translated by :class:`ganzoo.Translator`.

    Raises :class:`~ganzoo.UserError` if the model translates no images, if a file cannot be read or written, and if
    an image that is given would be overwritten.
    """
    at_least("-n", n, 1)
    at_least("--seed", seed, 0)
    source, target = path_of("source", source), path_of("target", target)
    sampler = load(model, network)
    signature = sampler.signature
    kinds = [field.kind for field in signature.inputs]
    taken = signature.inputs[0]
    if not isinstance(taken, Image) or not isinstance(signature.output, Image) or set(kinds[1:]) - {"mask", "latent"}:
        raise UserError(
            f"{model} draws from {' and '.join(kinds)}, so there is nothing to translate; see ganzoo sample"
        )
    if n > 1 and not any(isinstance(field, Latent) for field in signature.inputs):
        raise UserError("this model has one output for an image; leave -n out")
    if n > MOST:
        raise UserError(f"-n is at most {MOST:,}, not {n:,}")
    if mask is not None and "mask" not in kinds:
        raise UserError("this model takes no mask; leave --mask out")
    folder = source.is_dir() or target.is_dir() or not target.suffix
    _check_target(source, target, folder, signature.output.channels)
    latents = draw_latents(signature, n, seed)
    sources = Sources.find(source, target)
    outputs = _outputs(sources, target, folder, n)
    given_besides = () if mask is None else (path_of("mask", mask),)
    sources.refuse_overwriting((path for paths in outputs.values() for path in paths), *given_besides)
    reader = image_reader(taken, background, max_pixels)
    read_hole = _holes(reader, None if mask is None else Path(mask)) if "mask" in kinds else None
    translator = Translator(sampler, max_pixels or UNTILED, SETTING)

    def read(path: Path) -> tuple[Pillow.Image, Pillow.Image | None]:
        image, hole = read_hole(path) if read_hole is not None else (reader.read(path), None)
        translator.check(image)
        if not folder and taken.multiple is not None:
            _check_side(target, max(image.size))
        return image, hole

    done = 0
    written: list[Path] = []
    for path, given in sources.each(read, quiet=quiet):
        for index, out in enumerate(outputs[path]):
            others = {name: rows[index : index + 1] for name, rows in latents.items()}
            drawn = translator(*given, others, None if quiet else _show_progress)
            if index + 1 == n:
                del given  # writing a large image may take as much memory again
            _write(out, drawn)
            written.append(out)
        done += 1
    if not quiet:
        print(f"{done} translated by {sampler.device}", file=sys.stderr)
    return written


def _outputs(sources: Sources, target: Path, folder: bool, n: int) -> dict[Path, list[Path]]:
    """Return the ``n`` files that each image is translated to."""
    outputs: dict[Path, list[Path]] = {}
    taken: set[Path] = set()
    for path in sources.files:
        if sources.source.is_dir():
            out = target / path.relative_to(sources.source).with_suffix(".png")
            if out in taken:  # two images that differ in their suffixes alone
                out = out.with_name(f"{path.name}.png")
        else:
            out = target / f"{path.stem}.png" if folder else target
        taken.add(out)
        outputs[path] = [out] if n == 1 else [out.with_stem(f"{out.stem}-{index}") for index in range(n)]
    return outputs


def _check_target(source: Path, target: Path, folder: bool, channels: int) -> None:
    """Raise :class:`UserError` if the target is not what is to be written, or is the folder that is read."""
    if source.is_dir() and not target.is_dir() and (target.exists() or target.suffix.lower() in _FORMATS):
        raise UserError(f"IN is a folder, so OUT is one too, not {target}")
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
    if mask is None:
        keeping = replace(reader, mode="rgba")

        def read(path: Path) -> tuple[Pillow.Image, Pillow.Image]:
            image = keeping.read(path)
            hole = transparent(image)
            if hole is None:
                raise UserError(f"{path} is nowhere transparent: say with --mask FILE where the hole is")
            return reader.convert(image), hole

        return read
    gray = ImageReader("grey", max_pixels=reader.max_pixels, setting=reader.setting).read(mask)
    hole = gray.point(lambda value: 255 if value >= 128 else 0)

    def read_beside(path: Path) -> tuple[Pillow.Image, Pillow.Image]:
        image = reader.read(path)
        if hole.size != image.size:
            raise UserError(
                f"the mask is {hole.width} x {hole.height}, and {path} {image.width} x {image.height}; "
                "make them one size"
            )
        return image, hole

    return read_beside


def _show_progress(done: int, tiles: int) -> None:
    print(f"tile {done} of {tiles}", end="\r" if done < tiles else "\n", file=sys.stderr, flush=True)


def _write(path: Path, image: Pillow.Image) -> None:
    form = _FORMATS[path.suffix.lower()]
    options = {"quality": 95} if form in ("JPEG", "WEBP") else {}
    with atomic_path(path) as temporary:
        image.save(temporary, form, **options)
