"""What the command line says, made fit for a terminal."""

from __future__ import annotations

import builtins
import logging
import sys
from typing import TextIO

from ganzoo.text import shown

__all__ = ["escape_record", "print"]


def print(*values: object, sep: str = " ", end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Print like Python's own, with everything escaped that a terminal would obey, and that its encoding has not.

    Names come from folders and files that may be anybody's. Whatever the program says goes through here.
    """
    stream = sys.stdout if file is None else file
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = shown(sep.join(map(str, values))).encode(encoding, "backslashreplace").decode(encoding)
    builtins.print(text, end=end, file=stream, flush=flush)


def escape_record(record: logging.LogRecord) -> bool:
    """Escape a record of a log likewise; to be used as a filter, it drops none."""
    record.msg, record.args = shown(record.getMessage()), None
    return True
