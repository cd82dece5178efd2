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
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An option of that kind, as truncation=0.4; may be repeated.")
    ] = None,
) -> None:
    """Make a run of weights that another program has published; nothing in the file is run."""
    from ganzoo.config.merging import merge, parse_set
    from ganzoo.inference.importing import import_weights

    options: dict[str, object] = {}
    for each in set_ or []:
        options = merge(options, parse_set(each))
    run = import_weights(file, kind, out, license=license, options=options)
    print(f"license of the weights: {run.document()['source']['license']}", file=sys.stderr)
    print(run.path)
