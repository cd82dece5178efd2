"""``ganzoo --help``: plugins are imported for it when something has been installed or changed, and not otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sites import Site

from ganzoo_runtime.cache import cache_folder

HELP = """
import sys
from ganzoo.cli import main
main(["--help"])
print(sum(name.startswith("other_") for name in sys.modules), "ganzoo.plugin.registry" in sys.modules)
"""

COMMAND = """
@hookimpl
def ganzoo_specs():
    return [Spec("command", "{0}", "{1}", "nowhere:{0}")]
"""


class Machine:
    """A folder with plugins, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.site, self.cache = Site(folder / "site"), folder / "cache"
        self.add("hello", "Greet somebody")

    def add(self, name: str, summary: str) -> None:
        self.site.add(f"other-{name}", plugin=COMMAND.format(name, summary))

    def help(self, **environment: str) -> tuple[str, int, bool]:
        """Return what is shown, and whether plugins of others were imported for it, and the registry at all."""
        path = os.pathsep.join([str(self.site.folder), *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "GANZOO_CACHE": str(self.cache), **environment}
        done = subprocess.run(
            [sys.executable, "-P", "-c", HELP], env=environment, capture_output=True, text=True, timeout=100
        )
        assert (done.returncode, done.stderr) == (0, "")
        *shown, last = done.stdout.splitlines()
        modules, registry = last.split()
        return "\n".join(shown), int(modules), registry == "True"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_of_fifty_plugins_none_is_imported_again(machine: Machine) -> None:
    for number in range(49):
        machine.add(f"command{number}", "Do something")
    first, second = machine.help(), machine.help()
    assert first[1:] == (50, True)
    assert second[1:] == (0, False)
    assert first[0] == second[0]
    assert "command48" in second[0]


def test_what_is_installed_removed_or_changed_is_seen(machine: Machine) -> None:
    assert "Greet somebody  [other-hello]" in machine.help()[0]
    machine.add("bye", "Part")
    assert "Part  [other-bye]" in machine.help()[0]
    (machine.site.folder / "other_hello_plugin.py").write_text(
        "from ganzoo import Spec, hookimpl\n" + COMMAND.format("hello", "Greet all")
    )
    assert "Greet all  [other-hello]" in machine.help()[0]
    metadata = machine.site.folder / "other_bye-1.0.dist-info"
    metadata.rename(machine.site.folder.parent / "gone")
    assert "other-bye" not in machine.help()[0]


def test_a_plugin_that_is_disabled_is_not_shown(machine: Machine) -> None:
    assert "other-hello" in machine.help()[0]
    assert "other-hello" not in machine.help(GANZOO_DISABLE_PLUGINS="other-hello")[0]
    assert "other-hello" in machine.help()[0]


def test_after_a_failure_nothing_is_remembered(machine: Machine) -> None:
    machine.site.add("other-broken", plugin="import not_there_yet\n")
    assert machine.help()[2]
    assert machine.help()[2]
    assert not machine.cache.exists()


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"installed": 3}', "\0"])
def test_a_damaged_cache_is_made_anew(machine: Machine, damage: str) -> None:
    shown = machine.help()[0]
    (file,) = machine.cache.glob("commands-*.json")
    file.write_text(damage)
    assert machine.help() == (shown, 1, True)
    assert machine.help() == (shown, 0, False)


def test_without_a_cache_folder_it_works(machine: Machine) -> None:
    assert "other-hello" in machine.help(GANZOO_CACHE=os.devnull)[0]


def test_the_cache_is_where_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert str(cache_folder()) == "/x/ganzoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert str(cache_folder()).endswith(".cache/ganzoo")
