"""Captions as tokens: words in lower case without punctuation, one rule for data sets, networks in torch and files."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["caption_text", "caption_tokens", "is_caption", "words"]

_LISTED = 64  # words of a vocabulary that a sentence lists
_NEAR = 3  # known words that it names for one that is not known


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case: runs of letters, marks and digits; apostrophes are left out.

    In scripts without spaces what stands between two marks of punctuation is one word.
    """
    plain = unicodedata.normalize("NFC", text).lower().replace("'", "").replace("\u2019", "")
    return "".join(each if unicodedata.category(each)[0] in "LMN" else " " for each in plain).split()


def is_caption(field: Mapping[str, Any]) -> bool:
    """Return whether the input is a caption: tokens, int64 [L], that are words; number 0, of no text, fills up.

    Words have the space before them in their text.
    """
    return bool(field["kind"] == "tokens" and field["dtype"] == "int64" and field["tokens"][:1] == [""])


def caption_text(tokens: Sequence[int], field: Mapping[str, Any]) -> str:
    """Return the words of a caption's tokens, with spaces between them."""
    return "".join(field["tokens"][index] for index in tokens).strip()


def caption_tokens(text: str, field: Mapping[str, Any]) -> list[int]:
    """Return the tokens of a caption, filled up with 0.

    Raises ValueError for a text without words, with more than fit, or with words that the field does not know.
    """
    known, (length,) = field["tokens"], field["shape"]
    found = words(text)
    if not 0 < len(found) <= length:
        raise ValueError(f"the text has from 1 to {length} words for this model, and {text[:200]!r} has {len(found)}")
    number = {word.strip(): index for index, word in enumerate(known) if word}
    if unknown := [word for word in dict.fromkeys(found) if word not in number]:
        raise ValueError(_unknown(unknown, [*number]))
    return [*map(number.__getitem__, found), *[0] * (length - len(found))]


def _unknown(unknown: Sequence[str], known: Sequence[str]) -> str:
    """Return the sentence about words that are not known, with the nearest that are."""
    from difflib import get_close_matches  # after a mistake alone

    near = {word: " or ".join(map(repr, get_close_matches(word, known, _NEAR))) for word in unknown}
    said = " and ".join(f"{word!r} (near: {found})" if found else repr(word) for word, found in near.items())
    listed = "" if all(near.values()) or len(known) > _LISTED else f"; its words are {', '.join(sorted(known))}"
    return f"this model does not know {said}; leave unknown words out{listed}"
