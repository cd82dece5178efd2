"""``ganzoo new plugin``: writes a package of a third party's plugin from the templates.

A template is a folder of ``templates``, named by its kind. Its files are put into a package beside those of
``templates/package``: tests into tests/, ``usage.md`` into the README, all others into the import package. They are
plain files, Python that runs where it is Python; in their names and texts the words of :func:`_words` are replaced.
"""

from __future__ import annotations

import ast
import keyword
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ganzoo.errors import UserError, did_you_mean
from ganzoo.files import temporary_path
from ganzoo.plugin.discovery import normalized
from ganzoo.plugin.registry import BUNDLED, load_registry
from ganzoo.plugin.spec import KINDS, SAID, Kind
from ganzoo.terminal import print

__all__ = ["new", "render"]

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z0-9]|[a-z0-9][a-z0-9._-]*[a-z0-9]", re.IGNORECASE | re.ASCII)
_NOBODY = "YOUR NAME"

new = typer.Typer(
    help="Write a package of a plugin, to start one of your own.", add_completion=False, rich_markup_mode=None
)


@new.callback()
def _new() -> None:
    pass  # with it, typer makes a group of the one command


@new.command()
def plugin(
    name: Annotated[
        str, typer.Argument(help="The distribution's name, such as ganzoo-softplus; without ganzoo- it is the key.")
    ],
    kind: Annotated[str, typer.Option(help=f"What it offers: {', '.join(KINDS)}.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write; NAME if left out.")] = None,
) -> None:
    """Write a package that offers one thing.

    It has source that works, tests, a README, a license, and workflows that test it on GitHub and publish it on PyPI.
    """
    folder = Path(name) if out is None else out
    author = _author()
    render(name, kind, folder, author)
    print(folder)
    if author == _NOBODY:
        print(f"put your name in place of {author} in pyproject.toml and LICENSE", file=sys.stderr)
    print("what to do next:", file=sys.stderr)
    for line in (f"cd {shlex.quote(str(folder))}", 'pip install -e ".[test]"', "pytest", f"ganzoo list {kind}"):
        print(f"  {line}", file=sys.stderr)


def render(name: str, kind: str, folder: Path, author: str = _NOBODY) -> None:
    """Write the package ``name`` of a plugin of the kind into the folder: all of it, or nothing.

    Raises :class:`UserError` for a kind that there is not, for a name that is none of a distribution or would clash
    with something, and for a folder that is there and not empty.
    """
    known = next((each for each in KINDS if each == kind), None)
    if known is None:
        raise UserError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    sources = dict(_sources(known))
    words = _words(name, known, author)
    _check(name, known, words, sources)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already, and is not an empty folder; choose another with --out")
    words["EXAMPLE_USAGE"] = _replaced((_TEMPLATES / known / "usage.md").read_bytes(), words).decode()
    with temporary_path(folder.resolve(), folder=True) as temporary:
        for path, content in sources.items():
            place = temporary / _replaced(path.as_posix().encode(), words).decode()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(_replaced(content, words))
        folder.mkdir(exist_ok=True)
        for part in temporary.iterdir():
            part.rename(folder / part.name)


def _sources(kind: Kind) -> Iterator[tuple[Path, bytes]]:
    """Yield the files of a package and their contents, words not replaced yet."""
    common, special = _TEMPLATES / "package", _TEMPLATES / kind
    for path in common.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            # dot_ stands for a dot: tools would take such files as meant for us.
            yield Path(*(re.sub("^dot_", ".", part) for part in path.relative_to(common).parts)), path.read_bytes()
    for path in special.iterdir():
        if path.is_file() and path.name != "usage.md":
            folder = Path("tests") if path.name.startswith("test_") else Path("src", "example_package")
            yield folder / path.name, path.read_bytes()


def _words(name: str, kind: Kind, author: str) -> dict[str, str]:
    """Return what the words of the templates stand for."""
    from ganzoo import __version__

    package = re.sub(r"[-_.]+", "_", name).lower()
    key = package.removeprefix("ganzoo_")
    return {
        "example-name": name,
        "example_package": package,
        "example_key": key,
        "ExampleKey": "".join(part[:1].upper() + part[1:] for part in key.split("_")),
        "EXAMPLE_KIND": kind,
        "EXAMPLE_SAID": SAID[kind],
        "EXAMPLE_AUTHOR": author,
        "EXAMPLE_YEAR": str(date.today().year),
        "EXAMPLE_VERSION": __version__,
    }


def _check(name: str, kind: Kind, words: Mapping[str, str], sources: Mapping[Path, bytes]) -> None:
    """Raise :class:`UserError` for a name that is no distribution's, or clashes with something."""
    package, key = words["example_package"], words["example_key"]
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no name of a distribution: it has letters, digits and - _ . between them, as ganzoo-softplus"
        )
    if normalized(name).startswith(BUNDLED):
        raise UserError(f"{name!r} is ganzoo's own name; choose another, such as ganzoo-softplus")
    for word in (package, key, words["ExampleKey"]):
        if not word.isidentifier():
            raise UserError(f"{name!r} begins with a digit, which no name in Python does; put a letter before it")
        if keyword.iskeyword(word):
            raise UserError(f"{name!r} makes {word!r} of the code, which is a keyword of Python; choose another name")
    registry = load_registry()
    if any(e.spec.key == key and e.distribution == BUNDLED for e in registry.specs(kind)):
        raise UserError(f"ganzoo has a {SAID[kind]} {key!r} of its own, which the key means; choose another name")
    # The package would hide another one, or be hidden by it; its own earlier installation is none.
    module = find_spec(package)
    own = any(plugin.distribution == normalized(name) for plugin in registry.plugins)
    if module is not None and module.origin is not None and not own:
        raise UserError(f"there is a Python module {package!r} already ({module.origin}); choose another name")
    used = set().union(*(_used(content) for path, content in sources.items() if path.suffix == ".py"))
    for word in ("example_key", "ExampleKey"):
        if word in used and words[word] in used:
            raise UserError(
                f"{name!r} makes {words[word]!r} of the code, which it calls something else; say more in it"
            )


def _used(source: bytes) -> Iterator[str]:
    """Yield the names that Python code has for variables, classes and functions."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name


def _replaced(content: bytes, words: Mapping[str, str]) -> bytes:
    """Replace words; the bytes of a model file hold none of them."""
    pattern = "|".join(map(re.escape, words)).encode()
    return re.sub(pattern, lambda found: words[found[0].decode()].encode(), content)


def _author() -> str:
    """Return the name that git signs with; a stand-in if there is none."""
    try:
        run = subprocess.run(
            ["git", "config", "user.name"], capture_output=True, text=True, encoding="utf-8", timeout=5
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return _NOBODY
    # It comes to stand in quotes in pyproject.toml.
    name = "".join(char for char in run.stdout.strip() if char.isprintable() and char not in '"\\')
    return name or _NOBODY
