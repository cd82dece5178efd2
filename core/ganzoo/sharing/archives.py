"""Archives that come from outside: their files by name, read as a stream; nothing is unpacked by its path."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from ganzoo.errors import UserError
from ganzoo.inference.zoo import NAME

__all__ = ["SUFFIXES", "in_archive", "write_archive"]

SUFFIXES = (".tar", ".zip")

_MEMBERS = 1000

_AT_ONCE = 2**22
"""Bytes that tarfile and zipfile may read at once: a header that says more is a bomb."""


class _Bounded:
    """A file of which nobody reads much at once, whatever a header in it says."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(min(size, _AT_ONCE + 1) if size >= 0 else _AT_ONCE + 1)
        if len(content) > _AT_ONCE:
            raise UserError(f"{self._name} has a header that is too large for an archive of a model")
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def in_archive(file: IO[bytes], name: str) -> Iterator[Callable[[str], IO[bytes]]]:
    """Yield what opens a file of a .tar or .zip archive by its name; ``name`` is that of the archive.

    Raises :class:`UserError` for links, devices, folders, and names that lead anywhere, before any file is opened.
    """
    bounded = cast(IO[bytes], _Bounded(file, name))

    def absent(member: str) -> IO[bytes]:
        raise UserError(f"{name} has no {member}")

    if name.endswith(".tar"):
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            members = dict[str, tarfile.TarInfo]()
            for member in tar:
                _admit(name, member.name, member.isreg() and not member.issparse(), members, len(members))
                members[member.name] = member
            yield lambda each: cast(IO[bytes], tar.extractfile(members[each])) if each in members else absent(each)
        return
    with zipfile.ZipFile(bounded) as archive:
        infos = dict[str, zipfile.ZipInfo]()
        for info in archive.infolist():
            # Zip keeps the mode of files from Unix, a link is one whose content is where it leads to.
            kind = stat.S_IFMT(info.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG) and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            _admit(name, info.filename, plain and not info.flag_bits & 1, infos, len(infos))
            infos[info.filename] = info
        yield lambda each: archive.open(infos[each]) if each in infos else absent(each)


def _admit(archive: str, name: str, plain: bool, others: Container[str], count: int) -> None:
    if not NAME.fullmatch(name):
        problem = f"a member {name[:80]!r}, but the files of a model lie in an archive without a folder"
    elif not plain:
        problem = f"a member {name!r} that is a link, encrypted, or of another kind that is not read"
    elif name in others:
        problem = f"two members {name!r}"
    elif count >= _MEMBERS:
        problem = f"more than {_MEMBERS} members"
    else:
        return
    raise UserError(f"{archive} has {problem}; nothing of it was read")


def write_archive(path: Path, files: Iterable[Path]) -> None:
    """Write files into a new .tar or .zip archive, without their folders, owners and times."""
    with zipfile.ZipFile(path, "w") if path.suffix == ".zip" else tarfile.open(path, "w") as archive:
        for file in files:
            if isinstance(archive, zipfile.ZipFile):
                with file.open("rb") as source, archive.open(zipfile.ZipInfo(file.name), "w", force_zip64=True) as out:
                    shutil.copyfileobj(source, out)
                continue
            member = tarfile.TarInfo(file.name)
            with file.open("rb") as source:
                member.size = file.stat().st_size
                archive.addfile(member, source)
