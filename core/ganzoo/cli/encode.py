"""``ganzoo encode``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ganzoo.cli.images import Background, MaxPixels, Source
from ganzoo.cli.options import TF32, Attribute, Classes, Model, Seed, conditions
from ganzoo.errors import UserError
from ganzoo.files import check_writable
from ganzoo.terminal import print

__all__ = ["encode"]


def encode(
    model: Model,
    source: Source,
    optimize: Annotated[
        bool,
        typer.Option(
            "--optimize",
            help="Improve on the encoder, or do without one: by gradients from a run folder, by search from a file.",
        ),
    ] = False,
    space: Annotated[
        Literal["z", "w", "w+"] | None,
        typer.Option(
            help="Where --optimize looks: among latents z, or among the styles of a style-based model, one for all "
            "layers (w, if left out) or one for each (w+, nearer to the image and harder to edit).",
        ),
    ] = None,
    noise: Annotated[
        bool,
        typer.Option(
            "--noise",
            help="Let --optimize find noise maps for each image too, in a run of stylegan2: nearer in fine detail, "
            "which that run alone draws.",
        ),
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of --optimize.")] = 200,
    label: Classes = None,
    attribute: Attribute = None,
    background: Background = "white",
    max_pixels: MaxPixels = None,
    seed: Seed = 0,
    grid: Annotated[
        Path | None,
        typer.Option("--grid", help="FILE.png: the images, and what the generator draws from their latents."),
    ] = None,
    out: Annotated[Path, typer.Option(help="FILE.npz with the latents or styles, and the names of the images.")] = Path(
        "latents.npz"
    ),
    tf32: TF32 = False,
) -> None:
    """Find the latents that a generator draws images from.

    The file goes into 'ganzoo edit --latent' and 'ganzoo interpolate --latent'. Images are scaled and cut to the size
    that the generator draws; what cannot be read in a folder is skipped and named. A conditional generator is given the
    classes and attributes that are named here.
    """
    from ganzoo.inference.encoding import encode
    from ganzoo.inference.opening import load
    from ganzoo.inference.sources import Sources

    if out.suffix.lower() != ".npz" or (grid is not None and grid.suffix.lower() != ".png"):
        raise UserError("--out is an .npz, and --grid a .png")
    written = [out] if grid is None else [out, grid]
    Sources.find(source).refuse_overwriting(written)
    for path in written:
        check_writable(path)
    asked = {}
    if label or attribute:  # what they are called, the generator knows
        chosen = conditions(load(model, "generator").signature, seed, None, label, attribute)
        asked = {"label": chosen["label"], "attributes": chosen["attributes"]}
    found = encode(
        model,
        source,
        optimize=optimize,
        space=space,
        noise=noise,
        steps=steps,
        reconstruct=grid is not None,
        background=background,
        max_pixels=max_pixels,
        seed=seed,
        **asked,
    )
    found.save(out)
    if grid is not None:
        print(f"mean difference of pixels {found.difference:.3f} of their range", file=sys.stderr)
        found.save_grid(grid)
    print(out)
