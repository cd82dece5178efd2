"""Sending a trained model to others and fetching one: folders, archives, URLs and the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from ganzoo.errors import UserError
from ganzoo.files import (
    Lock,
    atomic_folder,
    atomic_path,
    fsync_folder,
    open_regular,
    read_text,
    remove_leftovers,
    writing,
)
from ganzoo.files.remote import file_system, is_url, reached, without_secrets
from ganzoo.inference.zoo import MANIFEST, NAME, zoo_folder
from ganzoo.plugin.registry import UnknownNameError, load_registry
from ganzoo.runs.naming import ROOT, Name
from ganzoo.sharing.archives import SUFFIXES, in_archive, write_archive
from ganzoo.sharing.package import Manifest, digest, packaged, read_manifest

__all__ = ["pull", "push"]

_HUB = "hf://"

_CHUNK = 2**20


def push(
    run: Name,
    destination: str | PathLike[str],
    *,
    license: str = "",
    confirm: Callable[[Manifest], None] = lambda manifest: None,
    runs: str | PathLike[str] = ROOT,
) -> Manifest:
    """Send a run's trained model to a folder, a ``.tar`` or ``.zip`` archive, a URL, or ``hf://user/name``.

    What is sent: the averaged weights as safetensors, each network but discriminators as an exported file, config.toml
    (of absolute paths the last part alone), samples, a model card, and a manifest with the sha256 of each file.
    ``license`` is that of the weights, by default that of what the run started from. ``confirm`` is called with the
    manifest before anything is sent, and may raise. On the hub it is one commit; in any other place nothing is
    replaced, and the manifest comes last, so that what was cut short is sent again and never pulled.

    Raises :class:`~ganzoo.UserError` if no license is stated, if the place holds another model, or cannot be written.
    """
    from ganzoo.runs.run import Run

    place = os.fspath(destination)
    registry = load_registry()
    run = run if isinstance(run, Run) else Run.open(run, runs)
    repository = _repository(place) if place.startswith(_HUB) else ""  # refused before anything is exported
    with packaged(run, license, registry) as (folder, manifest):
        confirm(manifest)
        files = sorted(folder.iterdir(), key=lambda path: path.name == MANIFEST)  # the manifest is last
        if repository:
            _commit(folder, repository, manifest)
        elif not _is_there(place, manifest):
            _send(files, place)
    return manifest


def pull(
    source: str | PathLike[str], name: str | None = None, *, confirm: Callable[[Manifest], None] = lambda manifest: None
) -> str:
    """Fetch a model that :func:`push` sent, verify it, and return what opens it, ``zoo:user/name``.

    ``name`` is ``user/name``; if left out, the last two parts of the source. ``confirm`` is called with the manifest,
    its license among it, before any other file is fetched, and may raise. Only the files that the manifest lists are
    read, up to the sizes in it, and nothing of them is run or opened. They appear in the zoo's folder
    (:func:`ganzoo.inference.zoo.zoo_folder`) when all are verified; what an interrupted call fetched is kept.

    Raises :class:`~ganzoo.UserError` if the source cannot be read, is not what its manifest says, or if there is
    another model of that name.
    """
    place = os.fspath(source)
    user, key = _named(place, name)
    with suppress(UnknownNameError):
        load_registry().get("pretrained", f"{user}/{key}")
        raise UserError(f"zoo:{user}/{key} is a model of an installed package; name it otherwise with --as USER/NAME")
    zoo, shown = zoo_folder(), without_secrets(place)
    home = zoo / user / key
    with _opened(place) as opened:
        with opened(MANIFEST) as file:
            manifest = read_manifest(file, shown)
        confirm(manifest)
        text = manifest.to_json()
        aside = zoo / ".pulls" / hashlib.sha256(text.encode()).hexdigest()[:16]
        lock = Lock(aside.with_suffix(".lock"))
        if home.exists():
            if not _holds(home, text):
                raise UserError(f"zoo:{user}/{key} is another model, in {home}; remove it, or give --as USER/NAME")
            aside = home  # what is damaged in it is fetched again
        with writing(lock.path):
            lock.path.parent.mkdir(parents=True, exist_ok=True)
            aside.mkdir(exist_ok=True)
        if (owner := lock.acquire()) is not None:
            raise UserError(f"{shown} is being pulled by {owner}")
        try:
            remove_leftovers(aside)
            for each, (sha256, size) in manifest.files.items():
                path = aside / each
                if path.is_symlink() or not path.is_file() or path.stat().st_size != size or digest(path) != sha256:
                    with opened(each) as file, atomic_path(path) as temporary:
                        _copy(file, temporary, f"{each} of {shown}", sha256, size)
            with atomic_path(aside / MANIFEST) as temporary:
                temporary.write_text(text, encoding="utf-8")
            if aside != home:
                with writing(home):
                    home.parent.mkdir(parents=True, exist_ok=True)
                    aside.rename(home)
                    fsync_folder(home.parent)
        finally:
            lock.release()
    return f"zoo:{user}/{key}"


def _named(place: str, name: str | None) -> tuple[str, str]:
    """Return user and name of what is pulled; raises :class:`UserError` if they are none."""
    text = name
    if text is None:
        path = without_secrets(place).split("://")[-1] if is_url(place) else str(Path(place).expanduser().absolute())
        parts = [part for part in re.split(r"[/\\]", path) if part]
        text = "/".join(parts[-2:])
        text = text.partition("@")[0] if place.startswith(_HUB) else text  # which revision it is
        text = text.removesuffix(".tar").removesuffix(".zip")
    user, slash, key = text.partition("/")
    if not (slash and NAME.fullmatch(user) and NAME.fullmatch(key)):
        raise UserError(
            f"{text!r} cannot be the name of a model; give --as USER/NAME, of letters, digits and _ - . alone"
        )
    return user, key


def _copy(file: IO[bytes], path: Path, name: str, sha256: str, size: int) -> None:
    """Write exactly ``size`` bytes of a stream to a file; raises :class:`UserError` if they are not those announced."""
    found, left = hashlib.sha256(), size
    with path.open("wb") as out:
        while chunk := file.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            found.update(chunk)
            out.write(chunk)
    if left or found.hexdigest() != sha256:
        raise UserError(f"{name} is not what the manifest says: it was changed or damaged, and nothing was installed")


@contextmanager
def _opened(place: str) -> Iterator[Callable[[str], IO[bytes]]]:
    """Yield what opens the files of a shared model by their names, wherever it lies."""
    shown = without_secrets(place)
    with reached(place):
        if is_url(place):
            system, path = _system(place)
            if shown.endswith(SUFFIXES):
                with system.open(path, "rb") as file, in_archive(file, shown) as opened:
                    yield opened
            else:
                yield lambda name: system.open(f"{path.rstrip('/')}/{name}", "rb")
        elif place.endswith(SUFFIXES) and not Path(place).is_dir():
            with open_regular(place) as file, in_archive(file, place) as opened:
                yield opened
        elif Path(place).is_dir():
            yield lambda name: open_regular(Path(place, name))
        else:
            raise UserError(f"there is no folder or archive {place}; a model on the hub is hf://USER/NAME")


def _is_there(place: str, manifest: Manifest) -> bool:
    """Return whether a place holds exactly this model; raises :class:`UserError` if it holds anything else."""
    archive = without_secrets(place).endswith(SUFFIXES)
    with reached(place):
        if is_url(place):
            system, path = _system(place)
            there = system.exists(path if archive else f"{path.rstrip('/')}/{MANIFEST}")
        else:
            there = os.path.lexists(place) and not (Path(place).is_dir() and not any(Path(place).iterdir()))
    if not there:
        return False
    try:
        with _opened(place) as opened, opened(MANIFEST) as file:
            same = read_manifest(file, place) == manifest
    except UserError:
        same = False
    if not same:
        raise UserError(f"{without_secrets(place)} holds something else already; remove it, or push to another place")
    return True


def _send(files: list[Path], place: str) -> None:
    """Write the files to a place where nothing is."""
    shown, target = without_secrets(place), Path(place)
    if is_url(place) and shown.endswith(SUFFIXES):
        with TemporaryDirectory(prefix="ganzoo-") as temporary, reached(place, "written"):
            whole = Path(temporary, shown.rpartition("/")[2])
            write_archive(whole, files)
            system, path = _system(place)
            system.put_file(str(whole), path)
    elif is_url(place):
        with reached(place, "written"):
            system, path = _system(place)
            if os.path.isabs(path):  # a store has no folders but buckets, and one of a mistyped name is not made
                system.makedirs(path, exist_ok=True)
            for file in files:
                system.put_file(str(file), f"{path.rstrip('/')}/{file.name}")
    elif shown.endswith(SUFFIXES):
        with atomic_path(target) as temporary_file:
            write_archive(temporary_file, files)
    else:
        with atomic_folder(target) as folder:
            for file in files:
                shutil.copyfile(file, folder / file.name)


def _system(url: str) -> tuple[Any, str]:
    system, path = file_system(url)
    system.invalidate_cache()  # what a store held a while ago
    return system, path


def _repository(place: str) -> str:
    """Return ``user/name`` of a place on the hub; raises :class:`UserError` if it is none, or without its client."""
    user, slash, key = place.removeprefix(_HUB).rstrip("/").partition("/")
    if not (slash and NAME.fullmatch(user) and NAME.fullmatch(key)):
        raise UserError(f"a model on the hub is hf://USER/NAME, not {place}")
    if find_spec("huggingface_hub") is None:
        raise UserError("the hub needs its client: pip install 'torch-ganzoo[hub]'")
    return f"{user}/{key}"


def _commit(folder: Path, repository: str, manifest: Manifest) -> None:
    """Put all files on the hub in one commit; a repository that is not there yet is made, and is public."""
    from huggingface_hub import HfApi

    with reached(f"{_HUB}{repository}", "written"):
        api = HfApi(library_name="ganzoo")
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=manifest.summary)


def _holds(home: Path, manifest: str) -> bool:
    try:
        return read_text(home / MANIFEST) == manifest
    except UserError:
        return False
