"""Files that come to their place when all of what is written is complete, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .text import counted

__all__ = ["complete", "refuse_remains", "together"]


def refuse_remains(folder: Path, remains: Sequence[str], what: str) -> None:
    """Raise ValueError if there are ``remains``: files of an earlier call that would outlive what is written now."""
    if remains:
        names = remains[0] if len(remains) == 1 else f"{remains[0]} to {remains[-1]}"
        raise ValueError(
            f"{folder} already holds {counted(len(remains), 'numbered file')} beside {what} to be written ({names}), "
            "and nobody could tell the two apart; delete them, or write to another place"
        )


@contextlib.contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Yield a folder inside ``folder`` whose files are moved up into it on success, and removed on failure.

    So a call that is cut short while it draws leaves the files of an earlier one as they were, all of them.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".samples-") as temporary:
        yield Path(temporary)
        for name in sorted(os.listdir(temporary)):
            os.replace(Path(temporary, name), folder / name)


@contextlib.contextmanager
def complete(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` that is renamed to it on success, and removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
