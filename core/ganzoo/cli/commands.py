"""The commands as typer's: imported when one is called, not for the list of all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ganzoo import __version__
from ganzoo.cli.overview import ABOUT, overview
from ganzoo.errors import UserError, plain, sentence
from ganzoo.plugin.registry import load_registry
from ganzoo.plugin.spec import Spec
from ganzoo.terminal import print

__all__ = ["app", "load_command", "run"]


class _Commands(TyperGroup):
    """The commands of the core and of plugins."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(load_registry().names("command"))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load_command(load_registry().get("command", cmd_name).spec)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the overview: typer's own help would import every command."""
        formatter.write(overview())


app = typer.Typer(
    name="ganzoo",
    cls=_Commands,
    help=ABOUT,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def load_command(spec: Spec) -> Any:
    """Import the target of a ``command`` spec and return it as a command of typer's.

    Raises :class:`UserError` if it cannot be imported, or if typer does not understand its annotations.
    """
    target = spec.load()
    if isinstance(target, typer.Typer):
        group = target
    else:
        group = typer.Typer(add_completion=False, rich_markup_mode=None)
        group.command(spec.key, help=target.__doc__ or spec.summary)(target)
    try:
        command = typer.main.get_command(group)
    except Exception as error:
        raise UserError(f"{spec} cannot be used: {sentence(error)}") from error
    command.name = spec.key
    return command


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


def run(arguments: Sequence[str]) -> int:
    """Run a command and return the exit code; raises :class:`UserError` for arguments that it does not take."""
    if ("--out", "") in pairwise(arguments) or "--out=" in arguments:  # of a shell's variable that is not set
        raise UserError("--out is empty; name the file or the folder to write, . for this one")
    try:
        return app(arguments, prog_name="ganzoo", standalone_mode=False) or 0
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "ganzoo"
        error.message = plain(error.message)
        message = " ".join(error.format_message().split()).rstrip(".").replace(". D", "; d")
        see = "" if message.endswith("?") else f"; see '{command} --help'"
        raise UserError(f"{message[:1].lower()}{message[1:]}{see}") from None
    except typer.Abort:
        return 130
