"""``ganzoo sample``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.cli.options import TF32, Attribute, Classes, Cutoff, Model, Seed, Text, Truncation, conditions
from ganzoo.errors import UserError
from ganzoo.terminal import print
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from ganzoo.gan.sampler import Sampler
    from ganzoo.training.engine import Place

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
    truncation: Truncation = None,
    truncation_cutoff: Cutoff = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.png for one grid, FILE.npz for samples with their latents and labels; for any number of "
            "samples a folder for a .png each, FILE.npy, FILE.parquet, FILE.txt, or FILE.tar for WebDataset shards. "
            "If left out, texts are printed, and others written to samples.png.",
        ),
    ] = None,
    part: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Write parts of so many samples each, FILE-000000.tar and on; the same command goes on where it "
            "stopped. 10,000 of several processes.",
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Draw in so many processes of this machine, each its own parts.")
    ] = None,
    tf32: TF32 = False,
) -> None:
    """Draw samples from a trained model."""
    if processes is not None and processes > 1:
        from ganzoo.training.launch import launch

        launch(processes, sys.argv[1:])
        return

    place = _place()
    if place is not None and place.world > 1:
        part = part or 10_000
        _take_gpu(place.local_rank)
    from ganzoo.inference.opening import load
    from ganzoo.inference.saving import sample_lines, save_samples

    sampler = load(model)
    asked = conditions(sampler.signature, seed, truncation, label, attribute, truncation_cutoff, text)
    if part is not None:
        _save_parts(sampler, n, out, part, place, asked)
        return
    if out is None and (found := sample_lines(sampler, n, **asked)) is not None:
        for line in found:
            print(line)
        return
    drawn, written = save_samples(sampler, out or Path("samples.png"), n, **asked)
    print(f"{counted(drawn, 'sample')} by {sampler.device}", file=sys.stderr)
    print(written)


def _place() -> Place | None:
    """Return which of several processes this is, as the environment says, or None for one alone."""
    if "RANK" not in os.environ and "SLURM_PROCID" not in os.environ:
        return None  # and torch is not imported for it
    from ganzoo.training.engine import found_place

    return found_place()


def _take_gpu(local_rank: int) -> None:
    """Let this process see one GPU alone: that of its number among those that there are for it."""
    given = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    os.environ["CUDA_VISIBLE_DEVICES"] = given[local_rank % len(given)] if given else str(local_rank)


def _save_parts(
    sampler: Sampler, n: int | None, out: Path | None, part: int, place: Place | None, asked: dict[str, Any]
) -> None:
    from ganzoo.inference.parts import save_parts

    if n is None or out is None:
        raise UserError("of samples in parts -n says how many and --out where: FILE.tar, another FILE, or a folder")
    rank, world = (0, 1) if place is None else (place.rank, place.world)
    drawn, kept, pattern = save_parts(sampler, out, n, part=part, rank=rank, world=world, **asked)
    if rank == 0:
        before = f", and {kept:,} were there" if kept else ""
        of = f" in process 0 of {world}" if world > 1 else ""
        print(f"{counted(drawn, 'sample')} by {sampler.device}{of}{before}", file=sys.stderr)
        print(pattern)
