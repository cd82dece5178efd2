"""``ganzoo translate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.cli.conditions import Model, Seed
from ganzoo.errors import UserError
from ganzoo.terminal import print

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.formats import Sampler

__all__ = ["register", "translate"]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(translate)


def translate(
    model: Model,
    source: Annotated[Path, typer.Argument(metavar="IN", help="A picture, or a folder of pictures.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The picture to write, or the folder.")],
    network: Annotated[
        str | None,
        typer.Option(help="Which of the model's networks, such as b_to_a; the main one, a_to_b, if left out."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="For inpainting: a picture, white where the hole is; if left out, the hole is where IN is transparent."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many answers of a model that is given a latent.")] = 1,
    seed: Seed = 0,
) -> None:
    """Translate pictures, or fill the holes in them.

    Pictures may have any size and format. A network that works at any size keeps it; for others they are scaled and cut
    to its own.
    """
    from ganzoo.opening import open_model
    from ganzoo.photos import pictures_in
    from ganzoo.signature import Image, Latent, Signature

    if seed < 0:
        raise UserError(f"--seed is at least 0, not {seed}")
    sampler = open_model(model, network=network)
    signature = Signature.from_json(sampler.metadata["signature"])
    kinds = [field.kind for field in signature.inputs]
    if kinds[0] != "image" or not isinstance(signature.output, Image) or set(kinds[1:]) - {"mask", "latent"}:
        raise UserError(
            f"{model} draws from {' and '.join(kinds)}, so there is nothing to translate; see ganzoo sample"
        )
    if n > 1 and not any(isinstance(field, Latent) for field in signature.inputs):
        raise UserError("this model has one answer for a picture; leave -n out")
    if mask is not None and "mask" not in kinds:
        raise UserError("this model takes no mask; leave --mask out")
    if target.suffix.lower() in (".onnx", ".npz") or (source.is_dir() and target.is_file()):
        raise UserError(f"OUT is a {'folder' if source.is_dir() else 'picture'}, not {target}")
    pictures = list(pictures_in(source))
    folder = source.is_dir() or target.is_dir() or not target.suffix
    done: set[Path] = set()
    for picture in pictures:
        if source.is_dir():
            out = target / picture.relative_to(source).with_suffix(".png")
            if out in done:  # two pictures that differ in their suffixes alone
                out = out.with_name(f"{picture.name}.png")
        else:
            out = target / f"{picture.stem}.png" if folder else target
        done.add(out)
        answers = _answers(sampler, signature, picture, mask, n, seed)
        for index, pixels in enumerate(answers):
            _write(out if n == 1 else out.with_stem(f"{out.stem}-{index}"), pixels)
        if len(pictures) > 1:
            print(f"{len(done)} of {len(pictures)}", end="\r", file=sys.stderr, flush=True)
    if len(pictures) > 1:
        print(file=sys.stderr)
    print(f"{len(pictures)} translated by {sampler.device}", file=sys.stderr)
    print(target)


def _answers(
    sampler: Sampler, signature: Any, picture: Path, mask: Path | None, n: int, seed: int
) -> list[NDArray[np.uint8]]:
    """Return the answers to one picture, uint8 [H, W, C] each."""
    import numpy as np

    from ganzoo.photos import fitted, read_mask, read_picture
    from ganzoo.pixels import to_pixels
    from ganzoo.sampling import draw_inputs
    from ganzoo.signature import Image, Latent, Mask

    image, hole = read_picture(picture, signature.inputs[0].channels)
    drawn = {}
    if any(isinstance(field, Latent) for field in signature.inputs):
        latents = type(signature)(tuple(f for f in signature.inputs if isinstance(f, Latent)), signature.output)
        drawn = dict(zip((f.name for f in latents.inputs), draw_inputs(latents, n, seed), strict=True))
    inputs: list[NDArray[Any]] = []
    for field in signature.inputs:
        match field:
            case Image(range=(low, high)):
                pixels = fitted(image, field).astype(np.float32)
                inputs.append(np.repeat(pixels[None] * np.float32((high - low) / 255) + np.float32(low), n, axis=0))
            case Mask():
                hole = read_mask(mask) if mask is not None else hole
                if hole is None:
                    raise UserError(f"{picture} is nowhere transparent: say with --mask FILE where the hole is")
                if hole.size != image.size:
                    raise UserError(
                        f"the mask is {hole.width} x {hole.height}, and {picture} {image.width} x {image.height}; "
                        "make them one size"
                    )
                there = fitted(hole, signature.inputs[0], mask=True).astype(np.float32) / 255
                inputs.append(np.repeat(there[None], n, axis=0))
            case _:
                inputs.append(drawn[field.name].numpy())
    try:
        output = sampler(*inputs)
    except ValueError as error:
        raise UserError(str(error)) from None
    answers = to_pixels(np.ascontiguousarray(output), signature.output.range, signature.output.layout)
    if signature.inputs[0].multiple is not None:
        answers = answers[:, : image.height, : image.width]
    return list(answers)


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image as Pillow

    from ganzoo.files import atomic_path

    picture = Pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    form = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}.get(path.suffix.lower(), "PNG")
    with atomic_path(path) as temporary:
        picture.save(temporary, format=form, quality=95) if form in ("JPEG", "WEBP") else picture.save(temporary, form)
