"""The command ``ganzoo``.

Command modules import nothing heavy at the top: ``ganzoo --help`` needs typer alone, ``ganzoo list`` no torch.
"""

import logging
import re
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from ganzoo import __version__
from ganzoo.cli import directions, encode, evaluate, export, inspect, latent, sample, train, translate
from ganzoo.cli.threads import spin_briefly
from ganzoo.errors import GanzooError, is_out_of_memory
from ganzoo.terminal import escape_record, print

__all__ = ["app", "main"]

_LONGEST = 2000  # characters of a sentence

app = typer.Typer(
    name="ganzoo",
    help="Train, sample and export generative adversarial networks; every GAN is a plugin.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
for _module in (train, sample, latent, directions, encode, translate, export, evaluate, inspect):
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
        _end("out of memory; take smaller batches (--set batch_size=...), fewer samples, or a smaller model", 1)
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
