"""``ganzoo interpolate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo import Image, Tokens, UserError, cli
from ganzoo_plugins.latent import written
from ganzoo_plugins.latent.common import On, Start, To, done, open_editor, save_images, save_rows, starting_points
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo_plugins.latent.editing import Editor

__all__ = ["interpolate"]

ANIMATIONS = (".gif", ".mp4")
"""The suffixes of animations."""

TILES = 16
"""Classes that an interpolation shows side by side."""


def interpolate(
    model: cli.Model,
    keys: Annotated[
        str | None,
        typer.Option(metavar="0,7,3", help="The numbers of the samples to go through; the first five if left out."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="Frames from one to the next; 30 in an animation, 8 elsewhere, if left out."
        ),
    ] = None,
    linear: Annotated[
        bool, typer.Option("--linear", help="Along straight lines; along great circles where latents are normal.")
    ] = False,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    text: cli.Text = None,
    seed: cli.Seed = 0,
    truncation: cli.Truncation = None,
    truncation_cutoff: cli.Cutoff = None,
    latent: Start = None,
    on: On = None,
    to: To = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.gif or FILE.mp4 for an animation, FILE.png for a grid, or a folder for the frames; "
            "interpolation.gif if left out. Sentences are printed.",
        ),
    ] = None,
    tf32: cli.TF32 = False,
) -> None:
    """Go from sample to sample through the space of latents.

    Several captions (--text) are gone through in their order, with the latent of one sample, or of one each by --keys.
    Classes that are not chosen by --label are shown side by side. Attributes go from those of the first sample to what
    --to says, of one sample alone if no others are named. Animations return to where they started. Of a model of text
    the sentences on the way are printed, a line each.
    """
    import numpy as np

    from ganzoo import grid as lay_out
    from ganzoo import write_animation
    from ganzoo_runtime.latent_arithmetic import interpolate as way

    wanted, out = out, out or Path("interpolation.gif")
    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix not in ("", ".png", *ANIMATIONS):
        raise UserError(f"--out is a .gif, an .mp4, a .png or a folder, not {out}")
    kinds, given = (Image, Tokens), to is not None
    editor = open_editor(
        model, label, attribute, seed, truncation, on, given=given, cutoff=truncation_cutoff, text=text, kinds=kinds
    )
    spoken = isinstance(editor.output, Tokens)
    if spoken and wanted is not None:
        raise UserError("the sentences of this model are printed; leave --out out")
    animated = suffix in ANIMATIONS and not spoken
    changed = written.changes(editor, to)
    if text and len(text) > 1:
        points, numbers = _captions(editor, keys, text)
    else:
        points, numbers = starting_points(editor, keys, latent, 1 if changed else 5)
    if changed and len(points) == 1:
        points = np.repeat(points, 2, axis=0)
    if len(points) < 2:
        raise UserError("an interpolation takes at least two samples")
    classes = editor.combinations()
    if classes > TILES:
        raise UserError(f"{classes} classes side by side are too many; choose with --label")
    spherical = editor.spherical and not linear
    steps = steps or (30 if animated else 8)
    path = way(points, steps, spherical=spherical, loop=animated)
    attributes = None
    if changed:
        start, end = (np.array(editor.attributes(numbers[:1], each)) for each in ({}, changed))
        attributes = way(np.linspace(start[0], end[0], len(points)), steps, spherical=False, loop=animated)
        attributes = np.repeat(attributes, classes, axis=0)
    # Whatever else a sample has is that of the first one, in all frames.
    rest = np.arange(len(path) * classes)
    asked = np.repeat(path, classes, axis=0), rest, numbers[:1]
    if spoken:
        for sentence in editor.sentences(*asked, attributes=attributes):
            cli.print(sentence)
        return
    pixels = editor.draw(*asked, attributes=attributes)
    tiles = pixels.reshape(len(path), classes, *pixels.shape[1:])
    if animated:
        write_animation(out, [lay_out(frame) for frame in tiles], claims=editor.claims)
    elif suffix:
        if classes > 1:  # a row for each class
            rows = list(tiles.swapaxes(0, 1))
        else:
            rows = [tiles[start * steps : (start + 1) * steps + 1, 0] for start in range(len(points) - 1)]
        save_rows(out, np.concatenate(rows), len(rows[0]), editor)
    else:
        save_images(out, np.stack([lay_out(frame) for frame in tiles]), editor)
    done(f"{counted(len(path), 'frame')} by {editor.sampler.device}", out)


def _captions(editor: Editor, keys: str | None, texts: list[str]) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return the styles of captions that an interpolation goes through, and the numbers of their samples."""
    import numpy as np

    if not editor.styled:
        raise UserError(
            "captions are in the styles of a model, which several of them are interpolated in; leave --on out"
        )
    numbers = written.numbers(keys) if keys is not None else [0]
    numbers = numbers * len(texts) if len(numbers) == 1 else numbers
    if len(numbers) != len(texts):
        raise UserError(f"--keys names one sample, or one for each of the {len(texts)} captions")
    points = [editor.latents([number], texts=[text]) for number, text in zip(numbers, texts, strict=True)]
    return np.concatenate(points), np.array(numbers)
