"""Vocabularies: which tokens texts are made of, by character, word or byte pair."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Literal, NamedTuple

from ganzoo import UserError
from ganzoo_runtime.text import fits

__all__ = ["UNKNOWN", "Unit", "Vocabulary", "learn"]

UNKNOWN = "\ufffd"
"""The text of the token that stands for what is not in the vocabulary, and for control characters."""

Unit = Literal["character", "word", "byte_pair"]
"""What a token is."""

_THREADS = "TOKENIZERS_PARALLELISM"

# A word with the space before it, a sign with the space before it, or another space: nothing of a text is lost.
_WORD = r" ?\w+(?:['’]\w+)*| ?[^\w\s]|\s"


class Vocabulary(NamedTuple):
    """The texts of tokens, the padding first, a function from a text to its tokens, and which one is the unknown."""

    tokens: tuple[str, ...]
    encode: Callable[[str], list[int]]
    unknown: int | None


def learn(texts: Sequence[str], unit: Unit, most: int) -> Vocabulary:
    """Return the vocabulary of texts, at most ``most`` tokens: the frequent ones first, equally frequent ones by text.

    Raises :class:`~ganzoo.UserError` if byte pairs are asked for and the package tokenizers is missing.
    """
    if unit == "byte_pair":
        return _byte_pairs(texts, most)
    split: Callable[[str], Sequence[str]] = list if unit == "character" else re.compile(_WORD).findall
    front = " " if unit == "word" else ""  # the first word is the same token as in the middle
    counts = Counter(chain.from_iterable(split(front + clean(text)) for text in texts))
    unknown = counts.pop(UNKNOWN, 0) + counts.pop(f" {UNKNOWN}", 0) > 0 or len(counts) > most - 1
    known = sorted(counts, key=lambda token: (-counts[token], token))[: most - 1 - unknown]
    tokens = ("", *([front + UNKNOWN] if unknown else []), *known)
    number = {token: index for index, token in enumerate(tokens)}

    def encode(text: str) -> list[int]:
        return [number.get(token, 1) for token in split(front + clean(text))]

    return Vocabulary(tokens, encode, 1 if unknown else None)


def _byte_pairs(texts: Sequence[str], most: int) -> Vocabulary:
    """Return characters and, as far as there is room, the merges of them that are the most frequent within words."""
    try:
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    except ImportError:
        raise UserError(
            "a vocabulary of byte pairs needs the package tokenizers: pip install torch-ganzoo[text], or take "
            "data.unit=word or character"
        ) from None
    # Characters are the smallest parts, not bytes: so each token is a text, and joining them gives the text back.
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=most - 1, limit_alphabet=max(1, (most - 1) // 2), special_tokens=[UNKNOWN], show_progress=False
    )
    with _one_thread():
        tokenizer.train_from_iterator((" " + clean(text) for text in texts), trainer)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])

    def encode(text: str) -> list[int]:
        return [index + 1 for index in tokenizer.encode(" " + clean(text)).ids]

    return Vocabulary(("", *(token for token, _ in vocabulary)), encode, 1 + dict(vocabulary)[UNKNOWN])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep tokenizers from starting threads, of which it would warn when the process forks later on."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "false"
    try:
        yield
    finally:
        del os.environ[_THREADS]
        if before is not None:
            os.environ[_THREADS] = before


def clean(text: str) -> str:
    """Return the text with what no token can be, control characters but tabs and line feeds, as unknown characters."""
    text = text.replace("\r\n", "\n")
    return text if fits(text, lines=True) else "".join(c if fits(c, lines=True) else UNKNOWN for c in text)
