"""``ganzoo mix``: samples with the styles of two others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganzoo import Styles, UserError, cli
from ganzoo_plugins.latent import written
from ganzoo_plugins.latent.common import done, only_png, open_editor, save_rows

__all__ = ["mix"]


def mix(
    model: cli.Model,
    rows: Annotated[
        str, typer.Option(metavar="0,1,2", help="The numbers of the samples at the left, of the coarse styles.")
    ] = "0,1,2",
    columns: Annotated[
        str, typer.Option(metavar="3,4,5", help="The numbers of the samples at the top, of the fine styles.")
    ] = "3,4,5,6",
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST-LAST",
            help="The layers whose styles are those of the rows, by number from 0; the coarser half if left out.",
        ),
    ] = None,
    label: cli.Classes = None,
    attribute: cli.Attribute = None,
    seed: cli.Seed = 0,
    truncation: cli.Truncation = None,
    truncation_cutoff: cli.Cutoff = None,
    out: Annotated[Path, typer.Option(help="The .png file.")] = Path("mixed.png"),
    tf32: cli.TF32 = False,
) -> None:
    """Mix the styles of samples of a style-based model.

    Each picture of the grid has the styles of the sample at its left in some layers, by default in the coarser half,
    which decide pose and shape, and in the others those of the sample above it, which decide color and texture.
    """
    import numpy as np

    only_png(out)
    editor = open_editor(model, label, attribute, seed, truncation, cutoff=truncation_cutoff)
    field = editor.field
    if not isinstance(field, Styles):
        raise UserError("this model has no styles that could be mixed: it is not style-based")
    coarse = f"0-{max(field.layers // 2, 1) - 1}"
    first, last = written.layers(coarse if layers is None else layers, field)
    left, above = written.numbers(rows), written.numbers(columns)
    styles = editor.latents([*left, *above])
    from_left = (np.arange(field.layers) >= first) & (np.arange(field.layers) <= last)
    mixed = np.where(from_left[:, None], styles[: len(left), None], styles[len(left) :])  # [rows, columns, L, D]
    drawn = editor.draw(np.concatenate([styles, mixed.reshape(-1, *field.shape)]), [0])
    sources, rest = drawn[: len(styles)], drawn[len(styles) :].reshape(len(left), len(above), *drawn.shape[1:])
    grid = np.full((len(left) + 1, len(above) + 1, *drawn.shape[1:]), 255, np.uint8)
    grid[1:, 0], grid[0, 1:], grid[1:, 1:] = sources[: len(left)], sources[len(left) :], rest
    save_rows(out, grid.reshape(-1, *drawn.shape[1:]), len(above) + 1, editor, ["", *above])
    done(f"{rest.shape[0] * rest.shape[1]} mixed by {editor.sampler.device}", out)
