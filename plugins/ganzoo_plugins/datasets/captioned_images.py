"""Your own images with captions: in text files beside them, or in a table as Hugging Face's imagefolder has it."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Batch, Dataset, DataSpec, UserError
from ganzoo.files import parse_json, read_csv, read_text
from ganzoo_plugins.datasets.folder import Folder, FolderConfig, form_of
from ganzoo_plugins.datasets.stored import ImagesConfig
from ganzoo_plugins.datasets.text_lines import LINE, text_lines
from ganzoo_plugins.datasets.words import encoded
from ganzoo_runtime.captions import words
from ganzoo_runtime.text import counted

__all__ = ["CaptionedImages"]

_log = logging.getLogger("ganzoo")
_TABLES = ("metadata.jsonl", "metadata.csv")
_TABLE = 2**30  # bytes of a table, which may be that of millions of images
_TEXT = 2**20  # bytes of the captions of one image
_EXAMPLES = 128


class CaptionedImagesConfig(ImagesConfig):
    """Settings of :class:`CaptionedImages`."""

    path: Path = Field(description="folder with the images, at any depth")
    captions: PurePath | None = Field(
        None,
        description="table in the folder, .jsonl or .csv, with a file_name and the caption in each line; left out: "
        "metadata.jsonl or metadata.csv if there is one, otherwise image.txt beside image.png, a caption a line",
    )
    column: str = Field("text", min_length=1, description="what the table calls the captions")
    vocabulary: int = Field(2000, ge=1, le=100_000, description="words that are known: the most frequent ones")
    length: int = Field(24, ge=1, le=256, description="words of a caption, behind which it is cut")


class CaptionedImages(Dataset[CaptionedImagesConfig]):
    """Images under a folder, read as by ``folder``, with one or several captions each.

    Fields: ``x`` uint8 [N, C, H, W] in 0 .. 255 and ``caption`` int64 [N, L], words by their number and 0 behind them.
    Words are in lower case and without punctuation. Of several captions of an image one is drawn each time.

    Captions stand in a table, or beside each image in a text file with a caption in each line (``captions`` in the
    settings). A table is a .jsonl of objects, whose captions may be lists, or a .csv with a header; ``file_name`` is
    the path of an image from the folder, with forward slashes, and a file with several lines has several captions. An
    image without a caption is refused. With ``flip``, captions must not say what is left or right.
    """

    def __init__(self, config: CaptionedImagesConfig) -> None:
        self.config = config
        own = {"captions", "column", "vocabulary", "length"}
        self.folder = _Numbered(FolderConfig(labels=False, **config.model_dump(exclude=own)))
        root, files = self.folder.root, self.folder.files
        table = config.captions or next((PurePath(name) for name in _TABLES if (root / name).is_file()), None)
        found = _read_table(root, table, config.column) if table is not None else _read_beside(root, files)
        place = str(root if table is None else root / table)
        forms = [form_of(file, found.__contains__) for file in files]
        without = [file for file, form in zip(files, forms, strict=True) if not found.get(form)]
        if without:
            others = f" and {len(without) - 1:,} more images" if len(without) > 1 else ""
            raise UserError(f"{place} has no caption for {without[0]}{others}; write one, or take the image away")
        known = {*forms}
        if other := [file for file in found if file not in known]:
            _log.warning(
                "%s of %s images that %s names are not in the folder, or are none, such as %s; they are left out",
                *(f"{len(other):,}", f"{len(found):,}", place, other[0]),
            )
        texts = [found[form] for form in forms]
        caption, self._tokens = encoded(
            [text for each in texts for text in each], config.vocabulary, config.length, place
        )
        self._counts = torch.tensor([len(each) for each in texts])
        self._first = self._counts.cumsum(0) - self._counts
        rows = torch.linspace(0, len(self._tokens) - 1, min(_EXAMPLES, len(self._tokens))).long()
        caption = replace(caption, examples=tuple(tuple(row) for row in self._tokens[rows].tolist()))
        self.in_memory = self.folder.in_memory
        self.spec = DataSpec("captioned_images", (self.folder.spec.sample, caption), len(files))

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Gather or decode the images; of each, one caption is drawn."""
        found = self.folder.batch(indices, rng)
        number = found["y"]  # where an image is broken, that of another one
        place = (torch.rand(len(number), generator=rng) * self._counts[number]).long()
        return {"x": found["x"], "caption": self._tokens[self._first[number] + place].long()}

    @property
    def rows(self) -> Batch | None:
        """The images and their captions, if they are in memory, not mirrored, and have one caption each."""
        rows = self.folder.rows
        if rows is None or len(self._tokens) > len(self._counts):
            return None
        return {"x": rows["x"], "caption": self._tokens.long()}

    def content(self) -> Iterator[Tensor | bytes]:
        """Yield that of the images, and their captions."""
        yield from self.folder.content()
        yield self._counts
        yield self._tokens


class _Numbered(Folder):
    """A folder that says of each image which one it is, as ``y``."""

    def __init__(self, config: FolderConfig) -> None:
        super().__init__(config)
        self._y = torch.arange(len(self.files))


def _read_beside(root: Path, files: Sequence[str]) -> Mapping[str, list[str]]:
    """Return the lines of the text file beside each image, by the image; there may be none."""
    found = {}
    for file in files:
        path = _text_file(root / file)
        lines = read_text(path, _TEXT).splitlines() if path.is_file() else []
        found[file] = [line for line in lines if words(line)]
    return found


def _text_file(image: Path) -> Path:
    """Return the text file beside an image, whether it is there or not."""
    path = image.with_suffix(".txt")
    return path.with_name(form_of(path.name, lambda name: path.with_name(name).is_file()))


def _read_table(root: Path, table: PurePath, column: str) -> Mapping[str, list[str]]:
    """Return the captions of a table in ``root``, by the image."""
    path = root / table
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"the table of captions {table} is not in {root}; give its path in that folder")
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise UserError(f"a table of captions is a .jsonl or a .csv, not {path}")
    found: dict[str, list[str]] = {}
    for line, row in _csv_rows(path, column) if path.suffix.lower() == ".csv" else _json_rows(path):
        file, said = row.get("file_name"), row.get(column)
        given = said if isinstance(said, list) else [said]
        texts = [text for text in given if isinstance(text, str)]
        if not isinstance(file, str) or len(texts) < len(given):
            raise UserError(f"line {line} of {path} has no file_name and {column!r} that are texts")
        found.setdefault(os.path.normpath(file.strip()), []).extend(text for text in texts if words(text))
    return found


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in text_lines(path):
        if line is None:
            raise UserError(f"line {number} of {path} has more than {LINE:,} bytes, too many for captions of an image")
        if line.strip():
            row = parse_json(line.strip(), f"line {number} of {path}")
            if not isinstance(row, Mapping):
                raise UserError(f"line {number} of {path} is no JSON object with a file_name and captions")
            yield number, row


def _csv_rows(path: Path, column: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    rows = read_csv(path, _TABLE)
    _, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    if not {"file_name", column} <= {*header} or len({*header}) < len(header):
        has = ", ".join(header) or "nothing"
        raise UserError(f"{path} names the columns {has}, and not 'file_name' and {column!r} once; see data.column")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"line {line} of {path} has {counted(len(row), 'column')}, the first line {len(header)}")
        yield line, dict(zip(header, row, strict=True))
