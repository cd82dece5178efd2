"""Where run folders are, what they are called, and which one is meant."""

import os
import re
from pathlib import Path

from ganzoo.errors import UserError

__all__ = ["ROOT", "ZOO", "Name", "chosen", "is_name", "locate", "located", "next_number", "text_of"]

Name = str | int | os.PathLike[str]
"""What a run is called: its path, its number, ``"last"``, or a :class:`~ganzoo.Run`. With ``@best`` or ``@1500`` behind
it is meant as it was at that checkpoint."""

ROOT = Path("runs")
"""The folder that run folders are made in and looked for, unless the user says otherwise."""

ZOO = "zoo:"
"""What the name of a model of the zoo begins with, and that of no run."""


def chosen(name: str) -> tuple[str, str]:
    """Return the run of a name such as ``5@best`` or ``runs/0005-dcgan-digits@1500``, and which checkpoint is meant.

    The second is empty without one, which means the last.
    """
    run, at, which = name.rpartition("@")
    known = which == "best" or (which.isascii() and which.isdecimal() and len(which) <= 18)
    return (run, which) if at and run and known and not Path(name).exists() else (name, "")


def is_name(name: str) -> bool:
    """Return whether it names a run without a path: by its number, or as ``last``."""
    name, _ = chosen(name)
    return name == "last" or (name.isascii() and name.isdecimal())


def located(model: str) -> str:
    """Return what a model is called, in place of a run's number or ``last`` the path of its folder; see :func:`locate`.

    Raises :class:`UserError` if there is no run of the number.
    """
    run, which = chosen(model)
    return f"{locate(run)}{'@' if which else ''}{which}" if is_name(run) else model


def text_of(name: Name) -> str:
    """Return what a run or a model is called as text; raises :class:`UserError` for what is neither path nor number."""
    if isinstance(name, str | os.PathLike):
        return os.fspath(name)
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    raise UserError(f"a run is named by its path, by its number, or as 'last', and not by a {type(name).__name__}")


def locate(name: Name, root: str | os.PathLike[str] = ROOT) -> Path:
    """Return the run folder that is meant by a path, by a number as ``5`` or ``0005``, or by ``last``.

    Numbers are those of the folders under ``root``; ``last`` is the highest that has a checkpoint. A path that is there
    comes before a number. Raises :class:`UserError` if there is no such run, or if two have the number.
    """
    text, root = text_of(name), Path(root)
    path = Path(text)
    if not text:
        raise UserError("a run has an empty name; name one by its path, by its number, or as 'last'")
    if path.exists():
        return path
    if text.startswith(ZOO):
        raise UserError(f"{text} is a model of the zoo and no run; name a run by its path, by its number, or as 'last'")
    if not is_name(text):
        raise UserError(f"there is no run folder {path}; name one by its path, by its number, or as 'last'")
    runs = _numbered(root)
    if text == "last":
        trained = [run for run in runs if (run / "checkpoints" / "last").is_file()]
        if not trained:
            raise UserError(f"there is no trained run under {root}; name one, or train first")
        return max(trained, key=_number)
    found = sorted(run for run in runs if _number(run) == int(text))
    if not found:
        there = ", ".join(run.name for run in sorted(runs, key=_number)[-5:]) or "none"
        raise UserError(f"there is no run number {text} under {root}; the newest are: {there}")
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]} both have the number {text}; say which by its path")
    return found[0]


def next_number(root: Path) -> int:
    """Return the number of the next run under ``root``: after all that stands in a name, whatever has that name."""
    return max(map(_number, root.glob("[0-9]*-*")), default=0) + 1


def _numbered(root: Path) -> list[Path]:
    return [path for path in root.glob("[0-9]*-*") if _number(path) >= 0 and path.is_dir()] if root.is_dir() else []


def _number(path: Path) -> int:
    match = re.match(r"([0-9]{1,18})-", path.name)
    return int(match[1]) if match else -1
