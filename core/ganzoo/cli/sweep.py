"""``ganzoo sweep``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ganzoo.cli.evaluate import print_table
from ganzoo.errors import UserError
from ganzoo.terminal import print

__all__ = ["sweep"]


def sweep(
    plugin: Annotated[str, typer.Argument(metavar="MODEL", help="The model; 'ganzoo list model' shows all.")],
    over: Annotated[
        list[str],
        typer.Option(
            metavar="SETTING=VALUES",
            help="A setting and its values: model.width=8,16; for --random and --tpe also a range: "
            "model.optimizer.lr=1e-5..1e-3:log. May be repeated.",
        ),
    ],
    random: Annotated[bool, typer.Option("--random", help="Draw the values, in place of all combinations.")] = False,
    tpe: Annotated[bool, typer.Option("--tpe", help="Let Optuna propose the values, by what came before.")] = False,
    trials: Annotated[int | None, typer.Option(help="How many trainings at most; 16 with --random and --tpe.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What they are compared by, as keep_best has it; by default the first metric.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="A data set, or a folder of images.")] = None,
    steps: Annotated[int | None, typer.Option(help="Generator steps of each training.")] = None,
    loss: Annotated[str | None, typer.Option(help="The adversarial loss, instead of the model's.")] = None,
    preset: Annotated[str | None, typer.Option(help="A named set of settings of the model.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings, such as a run's config.toml.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of all trainings, as batch_size=32; may be repeated.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides the values that are drawn; the trainings have --set seed=N.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the sweep; 'sweeps/MODEL' if left out.")] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="End trials early that are worse than the median of those before.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Train those again that have failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a model with many settings, a run each, and show which was the best.

    Given again, the command goes on where it was stopped; further values and trials are added.
    """
    from ganzoo.training.sweep import sweep

    if random and tpe:
        raise UserError("--random draws values, --tpe proposes them; leave one of them out")
    asked: dict[str, Any] = {"data": data, "steps": steps, "loss": loss, "preset": preset, "config": config}
    found = sweep(
        plugin,
        over=over,
        method="tpe" if tpe else "random" if random else "grid",
        trials=trials,
        metric=metric,
        out=out,
        sweep_seed=seed or 0,
        prune=prune,
        retry=retry,
        sets=set_ or (),
        quiet=quiet,
        device=device,
        **asked,
    )
    if as_json:
        print(
            json.dumps(
                {"path": str(found.path), "metric": found.metric, "trials": [*map(asdict, found.ranked)]}, indent=2
            )
        )
        return
    print_table(found.rows())
    if not any(trial.status in ("done", "pruned") for trial in found.trials):
        raise typer.Exit(1)
    if not quiet:
        print(f"written: {found.path / 'sweep.csv'}, {found.path / 'sweep.png'}", file=sys.stderr)
        runs = [str(found.path / trial.run) for trial in found.ranked if trial.run][:5]
        print(f"look at the best with: ganzoo report {' '.join(runs)}", file=sys.stderr)
