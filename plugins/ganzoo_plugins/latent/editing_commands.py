"""``ganzoo grid`` and ``ganzoo edit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganzoo import UserError, cli, files
from ganzoo_plugins.latent import written
from ganzoo_plugins.latent.common import (
    Layers,
    On,
    Start,
    To,
    done,
    only_png,
    open_editor,
    save_images,
    save_rows,
    starting_points,
)
from ganzoo_runtime.text import counted

__all__ = ["edit", "grid"]


def grid(
    model: cli.Model,
    rows: Annotated[int, typer.Option("-n", min=1, max=written.MOST, help="How many rows: latents.")] = 8,
    keys: Annotated[
        str | None, typer.Option(metavar="0,7,3", help="The numbers of the samples whose latents are the rows.")
    ] = None,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    text: cli.Text = None,
    seed: cli.Seed = 0,
    truncation: cli.Truncation = None,
    latent: Start = None,
    on: On = None,
    out: Annotated[Path, typer.Option(help="The .png file.")] = Path("grid.png"),
    tf32: cli.TF32 = False,
) -> None:
    """Draw the same latents for every class.

    A row is one latent, so one style; a column is one class. Of several latents, those that --on does not choose are
    those of the first sample in all rows.
    """
    import numpy as np

    only_png(out)
    editor = open_editor(model, label, attribute, seed, truncation, on, given=True, text=text)
    classes = editor.combinations()
    if classes < 2:
        raise UserError("there are no classes to lay out here; 'ganzoo sample' draws a grid")
    points, _ = starting_points(editor, keys, latent, rows)
    pixels = editor.draw(np.repeat(points, classes, axis=0), np.arange(len(points) * classes), [0])
    save_rows(out, pixels, classes, editor)
    done(f"{counted(len(points), 'latent')} for {classes} classes by {editor.sampler.device}", out)


def edit(
    model: cli.Model,
    direction: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=STRENGTH", help="Move the latents so far along this direction (repeatable)."),
    ] = None,
    directions: Annotated[
        Path | None, typer.Option(help="The file of directions; those in the model file if left out.")
    ] = None,
    arithmetic: Annotated[
        str | None,
        typer.Option(
            metavar="'3,8 - 5 + 1'",
            help="Start from a sum of samples by their numbers; those with commas between them are averaged.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=written.MOST, help="How many samples to edit.")] = 8,
    keys: Annotated[str | None, typer.Option(metavar="0,7,3", help="The numbers of the samples to edit.")] = None,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    text: cli.Text = None,
    seed: cli.Seed = 0,
    truncation: cli.Truncation = None,
    truncation_cutoff: cli.Cutoff = None,
    latent: Start = None,
    on: On = None,
    to: To = None,
    layers: Layers = None,
    out: Annotated[
        Path,
        typer.Option(
            help="FILE.png for a grid with the samples above and what became of them below, a folder for a .png "
            "of each edited one, or FILE.npz for their pixels and latents."
        ),
    ] = Path("edited.png"),
    tf32: cli.TF32 = False,
) -> None:
    """Change samples along directions, or in their attributes, or add them up.

    Without a file of directions there are those of single numbers: z.3 is the number 3, from 0, of the latent z.
    """
    import numpy as np

    from ganzoo_runtime.latent_arithmetic import edit as move

    suffix = "" if out.is_dir() else out.suffix.lower()
    if suffix not in ("", ".png", ".npz"):
        raise UserError(f"--out is a .png, an .npz or a folder, not {out}")
    editor = open_editor(
        model, label, attribute, seed, truncation, on, given=to is not None, cutoff=truncation_cutoff, text=text
    )
    known, changed = editor.directions(directions), written.changes(editor, to)
    strengths = written.strengths(direction or [], known, editor, directions)
    if layers is not None:
        known = {name: {**entry, "layers": written.layers(layers, editor.field)} for name, entry in known.items()}
    if not (strengths or changed) and arithmetic is None:
        raise UserError(
            f"say what to change: --direction NAME=STRENGTH, --to NAME=VALUE or --arithmetic; {written.have(known)}"
        )
    if arithmetic is not None:
        signs, groups = zip(*written.terms(arithmetic), strict=True)
        before = np.stack([editor.latents(group).mean(axis=0) for group in groups])
        start = np.tensordot(signs, before, axes=1)[None].astype(np.float32)
        numbers = np.full(len(before), groups[0][0])
    else:
        before, numbers = starting_points(editor, keys, latent, n)
        start = before
    after = move(start, known, strengths)
    own = numbers[: len(after)]
    edited = editor.draw(after, own, attributes=editor.attributes(own, changed))
    if suffix == ".npz":
        with files.atomic_path(out) as temporary, temporary.open("wb") as file:
            np.savez(file, pixels=edited, latents=after, **editor.noise)
    elif suffix:
        drawn = editor.draw(before, numbers)
        columns = len(drawn) + (len(edited) if arithmetic else 0)
        save_rows(out, np.concatenate([drawn, edited]), columns, editor)
    else:
        save_images(out, edited, editor)
    done(f"{len(edited)} edited by {editor.sampler.device}", out)
