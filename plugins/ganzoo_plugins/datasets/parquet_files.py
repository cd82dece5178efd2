"""Opening Parquet files from anyone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ganzoo import UserError
from ganzoo.files import open_regular, without_secrets
from ganzoo_plugins.datasets.places import opened

__all__ = ["parquet_file"]


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
