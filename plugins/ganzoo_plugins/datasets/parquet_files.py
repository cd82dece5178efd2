"""Opening Parquet files from anyone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganzoo import UserError
from ganzoo.files import open_regular

__all__ = ["parquet_file"]


@contextmanager
def parquet_file(path: Path, most: int | None = None) -> Iterator[Any]:
    """Open a file of at most ``most`` bytes as ``pyarrow.parquet.ParquetFile``, whose columns have names of their own.

    Raises :class:`~ganzoo.UserError` if pyarrow is missing, and for what it stumbles over while the file is open.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError(f"reading {path} needs pyarrow: pip install torch-ganzoo[parquet]") from None
    with open_regular(path, most) as file:
        try:
            opened = parquet.ParquetFile(file)
            names = opened.schema_arrow.names
            if not all(name.strip() for name in names) or len({name.strip() for name in names}) < len(names):
                raise UserError(f"{path} has two columns of one name, or one without a name")
            yield opened
        except UserError:
            raise
        except (ArrowException, OSError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{path} cannot be read as Parquet: {said}") from None
