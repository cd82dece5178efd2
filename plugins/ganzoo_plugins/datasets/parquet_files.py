"""Opening Parquet files from anyone, and what the Hugging Face library says in them of their columns."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

from ganzoo import UserError
from ganzoo.files import open_regular, without_secrets
from ganzoo_plugins.datasets.places import opened

__all__ = ["class_names", "parquet_file", "same_classes"]


@contextmanager
def parquet_file(path: Path | str, most: int | None = None) -> Iterator[Any]:
    """Open a file of at most ``most`` bytes as ``pyarrow.parquet.ParquetFile``, whose columns have names of their own.

    A text may be a URL as well.

    Raises :class:`~ganzoo.UserError` if pyarrow is missing, and for what it stumbles over while the file is open.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError(f"reading {path} needs pyarrow: pip install torch-ganzoo[parquet]") from None
    called = without_secrets(str(path))
    with _bytes(path, most) as file:
        try:
            found = parquet.ParquetFile(file)
            names = found.schema_arrow.names
            if not all(name.strip() for name in names) or len({name.strip() for name in names}) < len(names):
                raise UserError(f"{called} has two columns of one name, or one without a name")
            yield found
        except UserError:
            raise
        except (ArrowException, OSError, ValueError) as error:
            if not isinstance(path, Path) and not isinstance(error, ArrowException):
                raise  # of the way to the file
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{called} cannot be read as Parquet: {said}") from None


@contextmanager
def _bytes(path: Path | str, most: int | None) -> Iterator[IO[bytes]]:
    if isinstance(path, Path):
        with open_regular(path, most) as file:
            yield file
    else:
        with opened(path, ahead=False) as (file, _):  # its parts lie apart
            yield file


def class_names(schema: Any, column: str) -> list[str] | None:
    """Return the classes of a column (the library's ``ClassLabel``), by their numbers; None if a schema names none."""
    try:
        found = json.loads(schema.metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):  # of another library, or anybody's
        return None
    return [str(name) for name in found] if isinstance(found, list) else None


def same_classes(files: Sequence[str], names: Sequence[list[str] | None], column: str) -> None:
    """Raise :class:`~ganzoo.UserError` if two files name the classes of a column differently: their numbers would mix.

    ``names`` are those of each file, None where it names none.
    """
    said = [(file, each) for file, each in zip(files, names, strict=True) if each is not None]
    for file, other in said[1:]:
        first, known = said[0]
        if other != known:
            pairs = enumerate(zip_longest(known, other, fillvalue=""))
            number, here, there = next((number, *pair) for number, pair in pairs if pair[0] != pair[1])
            raise UserError(
                f"class {number} of the column {column} is {here!r} in {without_secrets(first)} and {there!r} in "
                f"{without_secrets(file)}: write the files anew with the same names, or leave the classes out with "
                "--set data.labels=false"
            )
