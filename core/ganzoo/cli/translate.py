"""``ganzoo translate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganzoo.cli.images import Background, MaxPixels, Source
from ganzoo.cli.options import TF32, Model, Seed
from ganzoo.terminal import print

__all__ = ["translate"]


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
    n: Annotated[int, typer.Option("-n", min=1, help="How many outputs of a model that takes a latent.")] = 1,
    background: Background = "white",
    max_pixels: MaxPixels = None,
    seed: Seed = 0,
    tf32: TF32 = False,
) -> None:
    """Translate images, or fill the holes in them.

    Images may have any size and format. A network that works at any size keeps it, and draws large images in tiles
    unless it needs all of one at once; for others they are scaled and cut to its own. What cannot be read in a folder
    is skipped and named at the end.
    """
    from ganzoo.inference.translation import translate

    translate(
        model,
        source,
        target,
        network=network,
        mask=mask,
        n=n,
        background=background,
        max_pixels=max_pixels,
        seed=seed,
    )
    print(target)
