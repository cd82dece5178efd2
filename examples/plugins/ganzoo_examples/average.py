"""The command ``average``: what the samples of a model have in common."""

from pathlib import Path
from typing import Annotated

import typer

from ganzoo import Image, Signature, UserError, cli


def average(
    model: cli.Model,
    n: Annotated[int, typer.Option("-n", min=1, help="How many samples.")] = 64,
    seed: cli.Seed = 0,
    out: Annotated[Path, typer.Option(help="The .png file.")] = Path("average.png"),
) -> None:
    """Draw the mean of a model's samples."""
    from ganzoo import load, save_grid

    sampler = load(model)
    output = Signature.from_json(sampler.metadata["signature"]).output
    if not isinstance(output, Image):
        raise UserError(f"{model} draws {output.kind}, and only images have a mean that can be looked at")
    save_grid(out, sampler.sample(n, seed=seed).mean(axis=0, keepdims=True), output)
    cli.print(out)
