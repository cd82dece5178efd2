"""``ganzoo new plugin``: what it writes for each kind is built, installed and tested as its author would do it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import ganzoo
from ganzoo import UserError, cli
from ganzoo.cli.new import render
from ganzoo.plugin.spec import KINDS

BUILD = """
import os, sys
from hatchling.build import build_wheel

folder, *packages = sys.argv[1:]
for each in packages:
    os.chdir(each)
    build_wheel(folder)
"""
"""What pip calls to build a wheel, for all packages in one process."""


def name_of(kind: str) -> str:
    return f"Ganzoo-{kind}.of-mine"


def key_of(kind: str) -> str:
    return f"{kind}_of_mine"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A rendered package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        render(name_of(kind), kind, folder / kind, "Ada Lovelace")
    return {kind: folder / kind for kind in KINDS}


@pytest.fixture(scope="module")
def site(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of each kind installed."""
    folder = tmp_path_factory.mktemp("site")
    run(sys.executable, "-c", BUILD, str(folder), *map(str, packages.values()))
    wheels = list(folder.glob("*.whl"))
    assert len(wheels) == len(KINDS)
    for wheel in wheels:
        ZipFile(wheel).extractall(folder / "site")  # of pure Python nothing else is to be done
    return folder / "site"


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, encoding="utf-8", timeout=250
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def installed(site: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "GANZOO_STRICT_PLUGINS": "1"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_complete_and_no_word_of_the_template_is_left(kind: str, packages: dict[str, Path]) -> None:
    files = {path.relative_to(packages[kind]).as_posix(): path for path in packages[kind].rglob("*") if path.is_file()}
    package, key = f"src/ganzoo_{key_of(kind)}", key_of(kind)
    assert files.keys() >= {
        *("pyproject.toml", "README.md", "LICENSE", ".gitignore"),
        *(".github/workflows/test.yml", ".github/workflows/release.yml"),
        *(f"{package}/__init__.py", f"{package}/plugin.py", f"tests/test_{key}.py"),
    }
    assert "usage.md" not in {path.name for path in files.values()}
    for name, path in files.items():
        text = path.read_bytes()
        assert not re.search(rb"(?i)example[-_ ]?(key|name|package|kind|said|usage|author|year|version)", text), name
        if path.suffix == ".py":
            compile(text, str(path), "exec")
            assert text.lstrip().startswith(b'"""')
            assert not re.search(rb"(from|import) ganzoo\.(?!testing)|ganzoo_(plugins|exporters|runtime)", text), name
    project = tomllib.loads(files["pyproject.toml"].read_text(encoding="utf-8"))["project"]
    assert project["name"] == name_of(kind)
    assert project["dependencies"] == [f"torch-ganzoo>={ganzoo.__version__}"]
    assert project["authors"] == [{"name": "Ada Lovelace"}]
    assert "Ada Lovelace" in files["LICENSE"].read_text(encoding="utf-8")
    readme = files["README.md"].read_text(encoding="utf-8")
    assert f"    ganzoo check {kind}:{name_of(kind)}/{key}\n" in readme
    assert re.search(rf"    ganzoo .*\b{key}\b", readme.partition("## Develop")[0])  # how it is used


def test_all_kinds_are_built_and_installed_and_pass_their_own_tests(packages: dict[str, Path], site: Path) -> None:
    tests = (str(path / "tests") for path in packages.values())
    run(
        *(sys.executable, "-m", "pytest", "-q", "-n0", "--import-mode=importlib", "-W", "error"),
        *("-p", "no:cacheprovider", "-c", str(packages["loss"] / "pyproject.toml"), *tests),
        **installed(site),
    )


def test_the_key_is_listed_with_its_summary(site: Path) -> None:
    rows = json.loads(run(sys.executable, "-m", "ganzoo", "list", "--json", **installed(site)))
    mine = {row["kind"]: row for row in rows if row["key"].endswith("_of_mine")}
    assert mine.keys() == set(KINDS)
    assert all(row["summary"] and row["name"].startswith("ganzoo-") for row in mine.values())


def test_it_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    cli.main(["new", "plugin", "ganzoo-mine", "--kind", "metric"])
    out, err = capsys.readouterr()
    assert out == "ganzoo-mine\n"
    assert [line.strip() for line in err.splitlines()] == [
        "put your name in place of YOUR NAME in pyproject.toml and LICENSE",
        "what to do next:",
        "cd ganzoo-mine",
        'pip install -e ".[test]"',
        "pytest",
        "ganzoo list metric",
    ]
    (tmp_path / "gitconfig").write_text('[user]\n name = Ada \\"x\\" Lövelace\n', encoding="utf-8")
    cli.main(["new", "plugin", "ganzoo-mine", "--kind", "metric", "--out", "a folder"])
    assert "cd 'a folder'" in capsys.readouterr().err
    written = (tmp_path / "a folder" / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(written)["project"]["authors"] == [{"name": "Ada x Lövelace"}]


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    render("ganzoo-mine", "loss", Path("."))
    assert {"src", "tests", "README.md"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("mine", "los", "unknown kind 'los'; did you mean 'loss'?"),
        ("mine-", "loss", "'mine-' is no name of a distribution"),
        ("../mine", "loss", "'../mine' is no name of a distribution"),
        ("größe", "loss", "'größe' is no name of a distribution"),
        ("3d", "loss", "'3d' begins with a digit"),
        ("ganzoo-3d", "loss", "'ganzoo-3d' begins with a digit"),
        ("class", "loss", "which is a keyword of Python"),
        ("ganzoo-none", "loss", "'ganzoo-none' makes 'None' of the code, which is a keyword"),
        ("ganzoo-hinge", "loss", "ganzoo has a loss 'hinge' of its own"),
        ("json", "loss", "there is a Python module 'json' already"),
        ("Torch_Ganzoo.Mine", "loss", "'Torch_Ganzoo.Mine' is ganzoo's own name"),
        ("ganzoo-loss", "loss", "'ganzoo-loss' makes 'Loss' of the code"),
        ("ganzoo-path", "sink", "'ganzoo-path' makes 'path' of the code"),
    ],
)
def test_a_name_or_kind_that_does_not_do_is_one_sentence(name: str, kind: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        render(name, kind, tmp_path / "out")
    assert sentence in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    for taken in (tmp_path, tmp_path / "notes"):
        with pytest.raises(UserError, match="is there already, and is not an empty folder"):
            render("ganzoo-mine", "loss", taken)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_its_own_installation_does_not_stop_a_package_from_being_written_again(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "from ganzoo.cli import main; main()"
    arguments = ("new", "plugin", name_of("loss"), "--kind", "loss", "--out", str(tmp_path / "again"))
    run(sys.executable, "-c", command, *arguments, **installed(site))
    assert (tmp_path / "again" / "README.md").is_file()
