"""Where a model of the zoo lies: inside an installed package, or in the folder that ``ganzoo pull`` fills."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from ganzoo.errors import UserError, did_you_mean
from ganzoo.files import read_json
from ganzoo.plugin.discovery import normalized
from ganzoo.plugin.registry import Entry, Registry, UnknownNameError
from ganzoo.plugin.spec import Spec
from ganzoo.runs.naming import ZOO

__all__ = ["MANIFEST", "NAME", "WEIGHTS", "main_file", "model_file", "pulled", "zoo_folder"]

MANIFEST = "ganzoo.json"
"""The file of a shared model that lists its other files with their sizes and sha256."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
"""What a file of a shared model, its user and the model itself may be called."""


WEIGHTS = "weights.safetensors"
"""What lies beside a model of the zoo for trainings to start from: generator and discriminator, by ``network.name``."""


def zoo_folder() -> Path:
    """Return the folder of pulled models: $GANZOO_ZOO, $XDG_DATA_HOME/ganzoo/zoo or ~/.local/share/ganzoo/zoo."""
    if folder := os.environ.get("GANZOO_ZOO"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "ganzoo" / "zoo"


@contextmanager
def model_file(name: str, registry: Registry) -> Iterator[Path | None]:
    """Yield the file that a model's name means, its path or ``zoo:NAME``, or None if it is of no file, as of a run.

    The files that belong to a model of the zoo are beside it. What an installed package offers comes before what was
    pulled as ``user/name``. Raises :class:`UserError` if the zoo has no such model.
    """
    if not name.startswith(ZOO):
        yield path if (path := Path(name)).is_file() else None
        return
    name = name.removeprefix(ZOO)
    try:
        spec = registry.get("pretrained", name).spec
    except UnknownNameError:
        spec = None
    if spec is None:
        user, slash, key = name.partition("/")
        folder = zoo_folder() / user / key
        if not (NAME.fullmatch(user) and NAME.fullmatch(key) and folder.is_dir()):
            known = [*registry.names("pretrained"), *(entry.name for entry in pulled())]
            close = did_you_mean(name, known, "'ganzoo list pretrained' shows all models")
            raise UserError(f"there is no {ZOO}{name}{close}{registry.troubles(normalized(user) if slash else '')}")
        yield folder / main_file(folder)
        return
    spec.load()  # says what is wrong if the file is not there
    package, _, inside = spec.target.partition(":")
    *folders, file = inside.split("/")
    with as_file(files(package).joinpath(*folders)) as folder:
        yield folder / file


def main_file(folder: Path) -> str:
    """Return the name of the main network's file in a folder that was pulled; raises :class:`UserError`."""
    document = read_json(folder / MANIFEST)
    main = document.get("main") if isinstance(document, dict) else None
    if not isinstance(main, str) or not NAME.fullmatch(main) or not (folder / main).is_file():
        raise UserError(f"{folder} is no pulled model, or damaged; remove it and pull it again")
    return main


def pulled() -> list[Entry]:
    """Return the models that were pulled, as if a distribution of the user's name offered them."""
    entries = []
    for path in sorted(zoo_folder().glob(f"[!.]*/[!.]*/{MANIFEST}")):
        try:
            document, main = read_json(path), main_file(path.parent)
            spec = Spec("pretrained", path.parent.name, str(document.get("summary", "")), f"{path.parent.name}:{main}")
        except (UserError, ValueError):
            continue  # opening it says what is wrong
        entries.append(Entry(spec, path.parent.parent.name, ""))
    return entries
