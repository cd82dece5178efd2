"""Commands of plugins: listed by their specs, imported when they are called, and refused in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from sites import Site, importable

from ganzoo import load_registry
from ganzoo.plugin.registry import BUNDLED
from ganzoo.testing import run_checks

HELLO = '''
from typing import Annotated
import typer
from ganzoo import UserError, cli

def hello(name: str, seed: cli.Seed = 0, loud: Annotated[bool, typer.Option("--loud", help="Shout.")] = False) -> None:
    """Greet somebody by name."""
    if name == "nobody":
        raise UserError("there is nobody to greet")
    cli.print(f"hello {name}, {seed}".upper() if loud else f"hello {name}, {seed}")

def mute(name: str) -> None:
    cli.print(name)

def odd(what: "Unknown") -> None:
    """Take what typer does not know."""

group = typer.Typer(help="Several greetings.", rich_markup_mode=None)
group.command()(hello)
group.command()(mute)
constant = 3
'''
HEAVY = '"""Heavy."""\nimport torch\ndef run() -> None:\n    """Run."""\n'


def offers(**targets: str) -> str:
    specs = [f"Spec('command', {key!r}, 'Summary of {key}', {target!r})" for key, target in targets.items()]
    return f"@hookimpl\ndef ganzoo_specs():\n    return [{', '.join(specs)}]\n"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A folder of distributions that is on the path, for commands that are called in this process."""
    folder = tmp_path_factory.mktemp("site")
    with importable(folder):
        (folder / "hellos.py").write_text(HELLO)
        (folder / "heavies.py").write_text(HEAVY)
        load_registry.cache_clear()
        yield Site(folder)
    load_registry.cache_clear()


def test_a_command_is_listed_and_called(cli: Command, site: Site) -> None:
    site.add("other", plugin=offers(hello="hellos:hello", hellos="hellos:group"))
    assert "\n  hello        Summary of hello  [other]\n" in cli("--help").out
    assert "hellos" not in sys.modules  # neither is it imported to be listed
    assert "Summary of hello  [other]" in cli("list", "command").out
    assert [entry["summary"] for entry in json.loads(cli("info", "hello", "--json").out)] == ["Summary of hello"]
    assert "hellos" not in sys.modules
    shown = cli("hello", "--help").out
    assert "Usage: ganzoo hello [OPTIONS] {name}\n\n  Greet somebody by name.\n" in shown
    assert "The same seed draws the same samples" in shown
    assert cli("hello", "you", "--seed", "3", "--loud").out == "HELLO YOU, 3\n"
    assert cli("other/hello", "you").out == "hello you, 0\n"
    assert cli("hellos", "hello", "you").out == "hello you, 0\n"
    assert "Several greetings." in cli("hellos", "--help").out
    cli("hello", "nobody").refused("there is nobody to greet")
    cli("hello").refused("missing argument", "ganzoo hello --help")
    cli("helo").refused("unknown command 'helo'; did you mean 'hello'?")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module:run", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("hellos:absent", "has no attribute 'absent'"),
        ("hellos:constant", "hellos:constant is a int and not a function"),
        ("hellos:odd", "NameError: name 'Unknown' is not defined"),
    ],
)
def test_a_command_that_cannot_be_loaded_is_a_sentence(cli: Command, site: Site, target: str, words: str) -> None:
    site.add("other", plugin=offers(broken=target))
    assert "Summary of broken" in cli("--help").out
    cli("broken").refused("the command 'broken' of plugin other/plugin 1.0", words)
    cli("broken", "--help").refused(words)


def test_a_plugin_that_is_not_there_is_quoted_for_an_unknown_command(cli: Command, site: Site) -> None:
    site.add("other", plugin="1 / 0")
    cli("hello").refused("unknown command 'hello'", "plugin other/plugin 1.0 failed to load: ZeroDivisionError")
    assert cli("--help").code == 0


def test_the_cores_command_wins_with_a_note(cli: Command, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.add("other", plugin=offers(list="hellos:hello", grid="hellos:hello"))
    listed = cli("--help").out
    assert "\n  list         List what the installed plugins offer\n" in listed
    assert "\n  other/list   Summary of list  [other]\n" in listed
    assert "\n  other/grid   Summary of grid  [other]\n" in listed
    assert cli("list", "loss").out
    note = f"the command 'list' means {BUNDLED}/list; there is also other/list"
    assert [record.getMessage() for record in caplog.records] == [note]
    assert cli("other/list", "you").out == "hello you, 0\n"


def test_two_third_parties_with_one_command_have_to_be_told_apart(cli: Command, site: Site) -> None:
    for distribution in ("one", "two"):
        site.add(distribution, plugin=offers(hello="hellos:hello"))
    assert {"  one/hello", "  two/hello"} <= {line[:11] for line in cli("--help").out.splitlines()}
    cli("hello", "you").refused("the command 'hello' is offered by one/hello and two/hello: say which")
    assert cli("two/hello", "you").out == "hello you, 0\n"


def test_the_cores_commands_are_there_whatever_is_installed(cli: Command, site: Site, monkeypatch) -> None:
    monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", BUNDLED)
    assert "\n  doctor " in cli("--help").out
    cli("export").refused("unknown command 'export'", "disabled by GANZOO_DISABLE_PLUGINS", "more are not loaded")


def test_listing_imports_no_command(tmp_path: Path) -> None:
    code = "import sys; from ganzoo.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    imported = set(done.stdout.splitlines()[-1].split())
    targets = {entry.spec.target.partition(":")[0] for entry in load_registry().specs("command")}
    assert len(targets) > 5
    assert not imported & targets


@pytest.mark.parametrize(
    ("target", "failed"),
    [
        ("hellos:hello", {}),
        ("hellos:group", {}),
        ("hellos:mute", {"command": "has no docstring"}),
        ("hellos:odd", {"help": "name 'Unknown' is not defined"}),
        ("heavies:run", {"help": "its help imports torch"}),
    ],
)
def test_the_kit_checks_commands(site: Site, target: str, failed: dict[str, str]) -> None:
    site.add("other", plugin=offers(hi=target))
    results = {result.name: result for result in run_checks(load_registry(), "hi")}
    assert results.keys() == {"discovery", "import", "command", "help"}
    found = {name: result.detail for name, result in results.items() if result.outcome == "failed"}
    assert found.keys() == failed.keys()
    assert all(failed[name] in found[name] for name in failed)


def test_the_summary_of_a_bundled_command_is_how_its_help_begins(cli: Command) -> None:
    for entry in load_registry().specs("command"):
        if entry.distribution == BUNDLED:
            first = cli(entry.spec.key, "--help").out.split("\n\n")[1]
            assert " ".join(first.split()) == f"{entry.spec.summary}.", entry.spec.key


@pytest.mark.parametrize("command", ["sample", "encode", "eval", "translate", "interpolate", "grid", "edit"])
def test_commands_that_open_files_take_tf32(cli: Command, command: str) -> None:
    assert "--tf32" in cli(command, "--help").out


def test_tf32_holds_for_one_command(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganzoo_runtime import generator, providers

    opened, open_session = [], generator.open_session

    def noted(*arguments: Any, defaults: Mapping[str, Mapping[str, str]], **rest: Any) -> Any:
        opened.append(defaults[providers.PROVIDERS["cuda"]])
        return open_session(*arguments, defaults=defaults, **rest)

    monkeypatch.setattr(generator, "open_session", noted)
    monkeypatch.delenv(providers.TF32, raising=False)
    for arguments in (["--tf32"], [], ["--tf32", "--label", "none"]):
        cli("sample", "zoo:gan_fc-mnist5k", "-n", 4, "--out", "a.png", *arguments)
    monkeypatch.setenv(providers.TF32, "0")
    cli("sample", "zoo:gan_fc-mnist5k", "-n", 4, "--tf32")
    assert opened == [{"use_tf32": "1"}, {}, {"use_tf32": "1"}, {"use_tf32": "1"}]
    assert os.environ[providers.TF32] == "0"
