"""Your own texts: lines of text files, JSON lines or Parquet columns."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import Field

from ganzoo import DatasetConfig, Tokens, UserError
from ganzoo.files import parse_json
from ganzoo_plugins.datasets.parquet_files import parquet_file
from ganzoo_plugins.datasets.sentences import Sentences, padded
from ganzoo_plugins.datasets.text_lines import FILE, LINE, text_lines
from ganzoo_plugins.datasets.vocabulary import UNKNOWN, Unit, learn
from ganzoo_runtime.text import counted

__all__ = ["Text", "TextConfig"]

_log = logging.getLogger("ganzoo")
_STRINGS = ("string", "large_string", "string_view")  # as Arrow calls texts
_TEXTS = 2**29  # bytes of all texts together
_TOKENS = 2**27  # tokens of all samples together, padding included: 1 GiB


class TextConfig(DatasetConfig):
    """Settings of :class:`Text`."""

    path: Path = Field(description="a .txt, .jsonl or .parquet file, or a folder of them: a sample a line or row")
    unit: Unit = Field(
        "character", description="what a token is; byte_pair (pip install torch-ganzoo[text]): frequent parts of words"
    )
    vocabulary: int = Field(
        5000, ge=3, le=50_000, description="most tokens that there are, padding included; rarer ones are unknown"
    )
    length: int = Field(32, ge=1, le=1024, description="most tokens of a sample; longer texts are left out")
    column: str = Field("text", description="where the text is in a .jsonl or .parquet file")
    held_out: float = Field(0.1, ge=0, le=0.5, description="share of the texts that is test data, not learned from")


class Text(Sentences[TextConfig]):
    r"""Lines of a .txt file, or texts of a .jsonl or .parquet file, or of all of these in a folder.

    Fields: ``x`` int64 [N, length]. Token 0, with an empty text, ends a sample and fills it up. The others are the most
    frequent characters, words (each with the space before it) or byte pairs; their texts are in the signature. What is
    not in the vocabulary is the token ``"\ufffd"``, and so are control characters other than tabs and line feeds. Files
    are UTF-8, with or without a byte order mark. Spaces at both ends, empty texts and those of more than ``length``
    tokens are left out. How many texts are left out and how many tokens are unknown is said in warnings of the logger
    ``ganzoo``. A random share ``held_out``, always the same, is test data.
    """

    def __init__(self, config: TextConfig) -> None:
        self.config = config
        path = Path(os.path.abspath(config.path.expanduser()))
        texts, most = list[str](), _TEXTS
        dropped = 0  # longer than any sample can be
        for text in _texts(path, config.column):
            if text is None:
                dropped += 1
            elif text := text.strip():
                texts.append(text)
                if (most := most - len(text)) < 0:
                    raise UserError(f"{path} has more text than the {_TEXTS:,} characters that are held in memory")
        if not texts:
            raise UserError(f"{path} has no text" + (f" of less than {LINE:,} bytes" if dropped else ""))
        self.vocabulary = learn(texts, config.unit, config.vocabulary)
        rows, unknown, shortest = list[list[int]](), 0, LINE
        for text in texts:
            row = self.vocabulary.encode(text)
            shortest = min(shortest, len(row))
            if len(row) > config.length:
                dropped += 1
                continue
            rows.append(row)
            if self.vocabulary.unknown is not None:
                unknown += row.count(self.vocabulary.unknown)
            if len(rows) * config.length > _TOKENS:
                raise UserError(
                    f"{path} has more than {_TOKENS // config.length:,} samples of {config.length} tokens; lower "
                    "data.length, or give a part of it"
                )
        if len(rows) < 2:
            raise UserError(
                f"{path} has {counted(len(rows), 'text')} of at most {counted(config.length, 'token')}, and two "
                f"are needed at least; the shortest has {shortest}: raise data.length, or give more"
            )
        total = sum(map(len, rows))
        if dropped:
            share = dropped / (dropped + len(rows))
            _log.warning(
                "%s: left out for more than %s (data.length): %s (%.1f%%)",
                *(path, counted(config.length, "token"), counted(dropped, "text"), 100 * share),
            )
        if unknown:
            _log.warning(
                "%s: %s of %s tokens (%.2f%%) are unknown, since the vocabulary has %s (data.vocabulary); they are "
                "learned as %r",
                *(path, f"{unknown:,}", f"{total:,}", 100 * unknown / total, f"{config.vocabulary:,}", UNKNOWN),
            )
        self.dropped, self.unknown = dropped, unknown
        tokens = padded(rows, config.length)
        order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))
        held = int(len(tokens) * config.held_out)
        # The order of the files is kept, so that the first samples are the first lines.
        tested, learned = order[:held].sort().values, order[held:].sort().values
        field = Tokens(config.length, len(self.vocabulary.tokens), self.vocabulary.tokens)
        super().__init__("text", field, tokens[learned], tokens[tested])


def _texts(path: Path, column: str) -> Iterator[str | None]:
    """Yield the texts of a file or a folder in the order of the names, and None for each that is too long."""
    readers = {".txt": _lines, ".jsonl": _records, ".parquet": _rows}
    if not path.exists():
        raise UserError(f"there is no file or folder {path}")
    if path.is_dir():
        found = (Path(place, name) for place, _, names in os.walk(path) for name in names)
        hidden = re.compile(r"(^|[/\\])\.")
        files = sorted(
            each for each in found if each.suffix.lower() in readers and not hidden.search(str(each.relative_to(path)))
        )
        if not files:
            raise UserError(f"there is no {', '.join(readers)} file in {path}")
    else:
        files = [path]
    for file in files:
        reader = readers.get(file.suffix.lower())
        if reader is None:
            raise UserError(f"{file} is none of {', '.join(readers)}; rename it if it is one")
        yield from reader(file, column)


def _lines(path: Path, column: str) -> Iterator[str | None]:
    for _, line in text_lines(path):
        yield line


def _records(path: Path, column: str) -> Iterator[str | None]:
    for number, line in text_lines(path):
        if line is None:
            yield None
        elif line.strip():
            record = parse_json(line.strip(), f"line {number} of {path}")
            text = record.get(column) if isinstance(record, dict) else record
            if not isinstance(text, str):
                has = "it is none"
                if isinstance(record, dict):
                    others = ", ".join(map(repr, record)) or "nothing"
                    has = f"its {column!r} is none" if column in record else f"it has {others}"
                raise UserError(
                    f"line {number} of {path} is to be a JSON object with a text {column!r}, and {has}; name the text "
                    "with data.column"
                )
            yield text


def _rows(path: Path, column: str) -> Iterator[str | None]:
    with parquet_file(path, FILE) as table:
        schema = table.schema_arrow
        if column not in schema.names:
            there = ", ".join(map(repr, schema.names))
            raise UserError(f"{path} has no column {column!r}; name one with data.column: {there}")
        kind = str(schema.field(column).type)
        # pandas writes a column of categories as a dictionary of their texts.
        if kind.removeprefix("dictionary<values=").partition(",")[0] not in _STRINGS:
            raise UserError(f"the column {column!r} of {path} has {kind}, not texts; name another with data.column")
        for batch in table.iter_batches(1024, columns=[column]):
            for text in batch.column(0).to_pylist():
                yield None if len(text or "") > LINE else text or ""
