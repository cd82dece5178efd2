"""The command ``ganzoo example_key``."""

import json
from typing import Annotated

import typer
from ganzoo import cli


def example_key(
    model: cli.Model,
    n: Annotated[int, typer.Option("-n", min=1, help="How many samples are drawn.")] = 64,
    seed: cli.Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the range, mean and standard deviation of a model's samples."""
    # What is heavy is imported here: the module itself is imported to show the command's help.
    from ganzoo import UserError, load

    if seed < 0:
        raise UserError(f"--seed is at least 0, not {seed}")  # one sentence and exit code 2, no traceback
    samples = load(model).sample(n, seed=seed)
    found = {name: float(getattr(samples, name)()) for name in ("min", "max", "mean", "std")}
    if as_json:
        cli.print(json.dumps(found))
        return
    for name, value in found.items():
        cli.print(f"{name:5}{value:.4g}")
