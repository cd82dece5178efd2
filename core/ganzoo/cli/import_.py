"""``ganzoo import``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ganzoo.terminal import print

__all__ = ["import_"]


def import_(
    file: Annotated[Path, typer.Argument(help="The file of weights.")],
    kind: Annotated[
        str, typer.Option("--as", metavar="KIND", help="What it is: 'ganzoo list importer' shows all kinds.")
    ],
    out: Annotated[Path | None, typer.Option(help="The run folder to make; a new one in 'runs' if left out.")] = None,
    license: Annotated[
        str, typer.Option("--license", "--licence", metavar="TEXT", help="The license of the weights.")
    ] = "",
) -> None:
    """Make a run of weights that another program has published; nothing in the file is run."""
    from ganzoo.inference.importing import import_weights

    run = import_weights(file, kind, out, license=license)
    print(f"license of the weights: {run.document()['source']['license']}", file=sys.stderr)
    print(run.path)
