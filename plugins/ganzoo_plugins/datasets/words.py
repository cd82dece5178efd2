"""Captions in words: a vocabulary, and captions as its tokens."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ganzoo import Tokens, UserError
from ganzoo_runtime.captions import words
from ganzoo_runtime.text import counted

__all__ = ["encoded", "vocabulary"]

_log = logging.getLogger("ganzoo")


def vocabulary(known: Iterable[str], length: int) -> Tokens:
    """Return the field ``caption`` of up to ``length`` of these words: token 0 fills up, others have a space first."""
    texts = ("", *(f" {word}" for word in known))
    return Tokens(length, len(texts), texts, "caption")


def encoded(captions: Sequence[str], most: int, length: int, place: str) -> tuple[Tokens, Tensor]:
    """Return the field of captions with their ``most`` frequent words, and their tokens, int32 [N, L].

    A caption is cut behind ``length`` words; what is cut or not among the words is left out, counted, and said in a
    warning of the logger ``ganzoo``, where ``place`` is what they came from.
    """
    texts = [words(caption) for caption in captions]
    counts = Counter(word for text in texts for word in text)
    if not counts:
        raise UserError(f"the captions in {place} have no words")
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    field = vocabulary(sorted(ranked[:most]), min(length, max(map(len, texts))))
    if rare := ranked[most:]:
        lost = sum(counts[word] for word in rare)
        _log.warning(
            "left out: %s, %.1f %% of the captions in %s, not among the %s most frequent, such as %s; take more with "
            "--set data.vocabulary=...",
            counted(lost, "word"),
            100 * lost / counts.total(),
            place,
            f"{most:,}",
            ", ".join(map(repr, rare[:3])),
        )
    number = {word.strip(): index for index, word in enumerate(field.tokens)}
    rows = [[number[word] for word in text if word in number] for text in texts]
    if empty := sum(not row for row in rows):
        _log.warning("without any of these words, so that nothing is said: %s in %s", counted(empty, "caption"), place)
    if cut := sum(len(row) > length for row in rows):
        _log.warning(
            "cut after %s: %s in %s; take more with --set data.length=...",
            counted(length, "word"),
            counted(cut, "caption"),
            place,
        )
    tokens = torch.zeros(len(rows), field.length, dtype=torch.int32)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row[: field.length], dtype=torch.int32)
    return field, tokens
