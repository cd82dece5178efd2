"""``ganzoo sample``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ganzoo.cli.options import TF32, Attribute, Classes, Cutoff, Model, Seed, Text, Truncation, conditions
from ganzoo.terminal import print

__all__ = ["sample"]


def sample(
    model: Model,
    n: Annotated[
        int | None, typer.Option("-n", help="How many; 64 images, 10,000 points or 32 texts if left out.")
    ] = None,
    label: Classes = None,
    attribute: Attribute = None,
    text: Text = None,
    seed: Seed = 0,
    truncation: Truncation = 1.0,
    truncation_cutoff: Cutoff = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.png for one grid, FILE.npz for samples with their latents and labels; for any number of "
            "samples a folder for a .png each, FILE.npy, FILE.parquet, FILE.txt, or FILE.tar for WebDataset shards. "
            "If left out, texts are printed, and others written to samples.png.",
        ),
    ] = None,
    tf32: TF32 = False,
) -> None:
    """Draw samples from a trained model."""
    from ganzoo.inference.opening import load
    from ganzoo.inference.saving import sample_lines, save_samples

    sampler = load(model)
    asked = conditions(sampler.signature, seed, truncation, label, attribute, truncation_cutoff, text)
    if out is None and (found := sample_lines(sampler, n, **asked)) is not None:
        for line in found:
            print(line)
        return
    drawn, written = save_samples(sampler, out or Path("samples.png"), n, **asked)
    print(f"{drawn} samples by {sampler.device}", file=sys.stderr)
    print(written)
