"""``ganzoo push`` and ``ganzoo pull``: trained models to others, and from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganzoo.errors import UserError
from ganzoo.terminal import print

if TYPE_CHECKING:
    from ganzoo.sharing.package import Manifest

__all__ = ["pull", "push"]


def push(
    run: Annotated[str, typer.Argument(help="The run: its folder, its number, or 'last', the newest one.")],
    destination: Annotated[
        str,
        typer.Argument(metavar="DEST", help="A folder, a .tar or .zip, a URL such as s3://..., or hf://USER/NAME."),
    ],
    license: Annotated[
        str,
        typer.Option(
            "--license", "--licence", metavar="TEXT", help="The license of the weights; needed unless the run has one."
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Send it without asking.")] = False,
    runs: Annotated[Path, typer.Option(help="Where runs are looked for by number, and the newest one.")] = Path("runs"),
) -> None:
    """Share a trained model: a folder, an archive, a URL, the Hugging Face Hub.

    License, data and files are shown before anything is sent.
    """
    from ganzoo.sharing.exchange import push

    def confirm(manifest: Manifest) -> None:
        _show(manifest)
        if yes:
            return
        if not sys.stdin.isatty():
            raise UserError("nothing was sent: there is no terminal to ask on; give --yes if that is to be sent")
        if not typer.confirm(f"Send it to {destination}?", err=True):
            raise UserError("nothing was sent")

    push(run, destination, license=license, confirm=confirm, runs=runs)
    print(destination)


def pull(
    source: Annotated[str, typer.Argument(help="What was pushed: a folder, a .tar or .zip, a URL, or hf://USER/NAME.")],
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="USER/NAME", help="What zoo: calls it; the last two parts of SOURCE if left out."),
    ] = None,
) -> None:
    """Fetch a shared model, which zoo:USER/NAME opens then.

    Every file is verified, and nothing is run.
    """
    from ganzoo.sharing.exchange import pull

    print(pull(source, name, confirm=_show))


def _show(manifest: Manifest) -> None:
    print(f"{manifest.summary}\nlicense of the weights: {manifest.license}", file=sys.stderr)
    print(f"learned from: {manifest.data}", file=sys.stderr)
    for name, (_, size) in sorted(manifest.files.items()):
        print(f"  {size:13,}  {name}", file=sys.stderr)
