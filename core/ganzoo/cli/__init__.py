"""The command ``ganzoo``, and what commands of plugins share with those of the core.

Commands are listed by their specs and imported when they are called: ``ganzoo --help`` needs typer and pluggy alone,
``ganzoo list`` no torch. A plugin's command takes the options of :mod:`ganzoo.cli.conditions` from here.
"""

import logging
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from ganzoo import __version__
from ganzoo.cli.conditions import TF32, Attribute, Classes, Model, Seed, Truncation, conditions
from ganzoo.cli.threads import spin_briefly
from ganzoo.errors import GanzooError, UserError, is_out_of_memory, sentence
from ganzoo.plugin.registry import BUNDLED, load_registry
from ganzoo.plugin.spec import Spec
from ganzoo.terminal import escape_record, print

__all__ = [
    "TF32",
    "Attribute",
    "Classes",
    "Model",
    "Seed",
    "Truncation",
    "app",
    "conditions",
    "load_command",
    "main",
    "print",
]

_LONGEST = 2000  # characters of a sentence


class _Commands(TyperGroup):
    """The commands of the core and of plugins."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(load_registry().names("command"))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load_command(load_registry().get("command", cmd_name).spec)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a line for each command from its spec alone: typer's own help would import every command."""
        rows = [
            (name, entry.spec.summary + ("" if entry.distribution == BUNDLED else f"  [{entry.distribution}]"))
            for name, entry in load_registry().names("command").items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    name="ganzoo",
    cls=_Commands,
    help="Train, sample and export generative adversarial networks; every GAN is a plugin.",
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the caller's mistakes end in one sentence and exit code 2, never in a traceback."""
    spin_briefly()
    logging.getLogger("ganzoo").addFilter(escape_record)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given or ["--help"], prog_name="ganzoo", standalone_mode=False)
    except GanzooError as error:
        _end(str(error), error.exit_code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "ganzoo"
        message = " ".join(error.format_message().split()).rstrip(".").replace(". D", "; d")
        see = "" if message.endswith("?") else f"; see '{command} --help'"
        _end(f"{message[:1].lower()}{message[1:]}{see}", 2)
    except typer.Abort:
        _end("", 130)
    except OSError as error:  # a full disk, a pulled plug: nothing that a traceback would explain
        what = f"{error.filename}: " if error.filename else ""
        _end(f"{what}{error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = "smaller batches (--set batch_size=...)" if given[:1] == ["train"] else "fewer or smaller samples"
        _end(f"out of memory; take {smaller}, or a smaller model", 1)
    if code:
        sys.exit(code)


def _end(sentence: str, code: int) -> NoReturn:
    if sentence:
        # Line breaks alone: a name may have several spaces, and those of other scripts.
        text = re.sub(r"\s*[\r\n]\s*", " ", sentence.strip())
        if len(text) > _LONGEST:  # it quotes what stood in a file
            text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
        print("ganzoo:", text, file=sys.stderr)
    sys.exit(code)
