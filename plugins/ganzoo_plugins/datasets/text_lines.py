"""Lines of files from anyone, with their numbers: UTF-8, each of bounded length."""

from collections.abc import Iterator
from pathlib import Path

from ganzoo import UserError
from ganzoo.files import open_regular

__all__ = ["FILE", "LINE", "text_lines"]

FILE = 2**30
"""Bytes of a file."""

LINE = 2**16
"""Bytes of a line, and of a text."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def text_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Yield the number and the text of each line, without a byte order mark; None for one of more than :data:`LINE`.

    Raises :class:`~ganzoo.UserError` as ``open_regular`` does, and for a line that is not UTF-8 or has null bytes.
    """
    with open_regular(path, FILE) as file:
        number, whole = 0, True
        while line := file.readline(LINE):
            begins, whole = whole, line.endswith(b"\n")
            if begins:
                number += 1
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield number, _decoded(path, number, line) if whole or len(line) < LINE - 3 else None


def _decoded(path: Path, number: int, line: bytes) -> str:
    utf16 = number == 1 and line.startswith(_UTF16)  # what marks it stands where a file begins
    if b"\0" in line and not utf16:
        raise UserError(f"line {number} of {path} has null bytes: it is no text, or UTF-16; convert the file to UTF-8")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        hint, coding = f"byte 0x{line[error.start]:02x}", "latin1"
        if utf16:
            hint, coding = "it is UTF-16", "utf-16"
        raise UserError(
            f"line {number} of {path} is not UTF-8 text ({hint}); convert the file, as iconv -f {coding} -t utf-8 does"
        ) from None
