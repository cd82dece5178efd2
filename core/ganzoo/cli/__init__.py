"""The command ``ganzoo``.

Command modules import nothing heavy at the top: ``ganzoo --help`` needs typer alone, ``ganzoo list`` no torch.
"""

import sys
from typing import Annotated

import typer

from ganzoo import __version__
from ganzoo.cli import inspect, sample, train
from ganzoo.errors import GanzooError

__all__ = ["app", "main"]

app = typer.Typer(
    name="ganzoo",
    help="Train, sample and export generative adversarial networks; every GAN is a plugin.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
for _module in (train, sample, inspect):
    _module.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"ganzoo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; the caller's mistakes end in one sentence and exit code 2, never in a traceback."""
    try:
        app()
    except GanzooError as error:
        print(f"ganzoo: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
