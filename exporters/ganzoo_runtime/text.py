"""Text from users, above all names: which text is accepted, and how it is shown.

Every script is welcome, with its own spaces, joiners and marks: a name is kept as it was written. What moves the cursor
of a terminal, breaks a line or turns around what stands beside it is shown escaped, as JSON and TOML write it, so that
a document stays the same document when it is shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from math import isfinite

__all__ = ["NAME", "class_index", "counted", "did_you_mean", "fits", "same", "shown"]

NAME = "it has control characters, or bytes that are no text"
"""Why a text does not fit to be a name."""

# C0 and C1 controls with DEL, and surrogates: halves of characters, and how Python writes bytes that it cannot decode.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# These but for tab and line feed, the marks of direction, and the separators of lines and paragraphs.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_LISTED = 20  # names of classes in a sentence
_DIGITS = 18  # of a class's number


def fits(text: str, *, lines: bool = False) -> bool:
    """Return whether files can keep the text as a name; with ``lines``, as a text that may have tabs and several lines.

    Characters that no version of Unicode knows yet do, since a newer one may.
    """
    return not _UNFIT.search(text.translate(_LINES) if lines else text)


def shown(text: str) -> str:
    r"""Return the text as it can be shown: what would act instead of being seen is written as ``\u001b`` and the like.

    Tabs and line feeds stay.
    """
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def same(text: str, names: Iterable[str]) -> str:
    """Return the name that a person means who has typed ``text``, or the text if there is none.

    It is the name itself, or one of the same characters in other code points: keyboards and file systems differ on
    whether an accent is one of its own.
    """
    plain = unicodedata.normalize("NFC", text)
    alike = [name for name in names if unicodedata.normalize("NFC", name) == plain]
    return text if text in alike or not alike else alike[0]


def class_index(text: str, names: Sequence[str], classes: int, asked: str) -> int:
    """Return the index of the class that is meant by its name, or by its number from 0.

    A number is understood unless any of the ``names`` is another number (1, 2 ...; years): whoever writes one there
    means a name. Raises ValueError for a class that there is not; ``asked`` is what was written, and where.
    """
    if (known := same(text, names)) in names:
        return names.index(known)
    if any(_is_number(known) and known != str(index) for index, known in enumerate(names)):
        more = ", ..." if classes > _LISTED else ""
        listed = ", ".join(map(repr, names[:_LISTED]))
        raise ValueError(f"unknown {asked}: the classes are known by their names alone, {listed}{more}, or 'all'")
    if text.isdecimal() and len(text) <= _DIGITS and int(text) < classes:
        return int(text)
    close = did_you_mean(text, names) if names else ""
    raise ValueError(f"unknown {asked}: it is a number from 0 to {classes - 1}, a name or 'all'{close}")


def _is_number(name: str) -> bool:
    try:
        return isfinite(float(name))
    except ValueError:
        return False


def counted(count: int, noun: str) -> str:
    """Return ``"1 sample"``, ``"5,000 samples"``, ``"2 classes"``."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def did_you_mean(name: str, known: Iterable[str], instead: str = "") -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of the known names.

    If none is close, the names themselves; or, where they are too many to be read, what is to be said ``instead``.
    """
    from difflib import get_close_matches  # after a mistake alone

    names = sorted(set(known))
    close = get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if instead:
        return f"; {instead}"
    return f"; there is: {', '.join(names)}" if names else ""


_LINES = {ord("\t"): None, ord("\n"): None}
