"""``ganzoo eval``, ``ganzoo compare`` and ``ganzoo report``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ganzoo.cli.options import TF32, Model
from ganzoo.errors import UserError
from ganzoo.terminal import print

__all__ = ["compare", "eval_", "print_table", "report"]


def eval_(
    model: Model,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric, 'ganzoo list metric' shows all; may be repeated. By default what suits the data."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set or a folder of images; by default what it was trained on.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, as data.path=images or metric.fid.extractor=inception; repeatable."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Samples for every metric; by default what each asks for.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Which of the model's networks, such as b_to_a; the main one if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed that samples are drawn with.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="A folder for eval.json and images; a run's figures are also kept without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that eval.json holds.")] = False,
    tf32: TF32 = False,
) -> None:
    """Evaluate a trained model: its samples beside as many real ones.

    What translates or fills images is evaluated by its outputs for the data's.
    """
    from ganzoo.inference.evaluation import evaluate

    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out is a folder, not the file {out}")
    found = evaluate(model, metrics=metric or (), data=data, sets=set_ or (), n=n, network=network, seed=seed)
    for name, reason in found.left_out.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    for sentence in found.warnings:
        print(f"warning: {sentence}", file=sys.stderr)
    if out is not None or Path(model).is_dir():
        written = found.save(out if out is not None else model, images=out is not None)
        print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    if as_json:
        print(json.dumps(found.document, indent=2))
        return
    rows = [
        [name, _number(value), _number(found.reference.get(name)), found.better[name] or ""]
        for name, value in found.figures.items()
    ]
    print_table([["figure", "samples", "reference", "better"], *rows])


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: folders, numbers, or 'last'.")],
    out: Annotated[Path | None, typer.Option(help="FILE.png: the curves of the runs in one image.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show runs side by side: settings, losses and figures."""
    from ganzoo.inference.comparison import compare

    found = compare(runs)
    if out is not None:
        found.plot(out)
        print(f"curves: {out}", file=sys.stderr)
    records = [dict(vars(run)) for run in found.runs]
    if as_json:
        for record in records:
            del record["rows"]
            known = {**record["last"], **record["eval"]}
            record["better"] = {key: found.better[key] for key in known if found.better[key]}
        print(json.dumps(records, indent=2))
        return
    table = [["", *(record["name"] for record in records), "better"]]
    table += [
        [key, *(str(record[key]) for record in records), ""] for key in ("model", "data", "loss", "step", "steps")
    ]
    for section, label in (("settings", ""), ("last", ""), ("eval", "eval ")):
        for key in dict.fromkeys(key for record in records for key in record[section]):
            values = (_number(record[section].get(key)) for record in records)
            better = found.better.get(key) if section != "settings" else None
            table.append([f"{label}{key}", *values, better or ""])
    print_table(table)


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: folders, numbers, or 'last'.")],
    out: Annotated[Path, typer.Option(help="The file, a .html.")] = Path("report.html"),
) -> None:
    """Write runs into one HTML file that opens offline.

    It has their curves, samples over time, figures, settings and warnings.
    """
    from ganzoo.inference.report import report

    print(report(runs, out))


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_table(table: Sequence[Sequence[str]]) -> None:
    """Print rows of cells below each other."""
    from ganzoo_runtime.text import shown

    table = [[shown(cell) for cell in row] for row in table]  # as wide as it is printed
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
