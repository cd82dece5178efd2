"""The registry, with real entry points in folders made for the purpose, and with those in ``tests/broken``."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import Site, importable

from ganzoo import Spec, UserError, load_registry
from ganzoo.plugin.discovery import Distribution, discover, normalized
from ganzoo.plugin.registry import Plugin, Registry

BROKEN = ROOT / "tests" / "broken"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANZOO_DISABLE_PLUGINS", raising=False)
    monkeypatch.delenv("GANZOO_STRICT_PLUGINS", raising=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with importable(tmp_path):
        yield Site(tmp_path)


def offers(*keys: str, kind: str = "model", then: str = "") -> str:
    specs = [f"Spec({kind!r}, {key!r}, 'Summary.', 'nowhere:Thing', defaults={{'a': 1}})" for key in keys]
    return f"@hookimpl\ndef ganzoo_specs():\n    return [{', '.join(specs)}]\n{then}"


def names(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.specs()]


# Broken plugins


REASONS = {
    "api_text": "it needs version '1' of the hooks, and this ganzoo has 1: update torch-ganzoo",
    "attribute": "ModuleNotFoundError: No module named 'broken_plugins.healthy:ganzoo_specs'",
    "bad_key": "ValueError: a key is made of letters, digits and _ - . , not 'bad/key'",
    "bad_signature": "ganzoo_log has no argument 'stepp'; did you mean 'step'?",
    "closes": "GeneratorExit",
    "exits": "SystemExit: 3",
    "gone": "Gone: for ever",
    "healthy_again": "its module broken_plugins.healthy is loaded already",
    "imports_missing": "ModuleNotFoundError: No module named 'no_such_package_of_anybody'",
    "interrupts": "KeyboardInterrupt",
    "keyword_only": "ganzoo_log gets its arguments by place, 'step' too",
    "missing": "ModuleNotFoundError: No module named 'broken_plugins.missing'",
    "misspelt": "there is no hook 'ganzoo_spec'; did you mean 'ganzoo_specs'?",
    "mute": "Mute",
    "newer": "it needs version 99 of the hooks, and this ganzoo has 1: update torch-ganzoo",
    "raises": "RuntimeError: two lines",
    "repeats": "broken-plugins offers the model 'healthy' twice",
    "specs_exit": "SystemExit: no license",
    "specs_none": "its ganzoo_specs returns NoneType where a list of Spec is due",
    "specs_raise": "KeyError: 'gone'",
    "specs_text": "its ganzoo_specs returns str where a list of Spec is due",
    "specs_tuples": "its ganzoo_specs returns tuple where a list of Spec is due",
    "syntax": "SyntaxError: ",  # what follows is Python's and differs by version
    "twice": "broken-plugins offers the loss 'same' twice",
    "wrapper": "its ganzoo_log is a wrapper, and ganzoo has none",
}


@pytest.fixture(scope="module")
def broken() -> Iterator[Registry]:
    with importable(BROKEN):
        yield Registry([str(BROKEN)])


def test_every_broken_plugin_is_there_with_its_reason(broken: Registry) -> None:
    failed = {p.name: p.reason for p in broken.plugins if p.status == "failed" and p.distribution == "broken-plugins"}
    failed["syntax"] = failed["syntax"][: len(REASONS["syntax"])]
    assert failed == REASONS


def test_every_file_of_broken_plugins_is_tried(broken: Registry) -> None:
    files = {file.stem for file in (BROKEN / "broken_plugins").glob("*.py")} - {"__init__"}
    assert files == {p.name for p in broken.plugins if p.distribution == "broken-plugins"} - {
        "attribute",
        "healthy_again",
        "missing",
    }


def test_a_malformed_distribution_is_one_failure(broken: Registry) -> None:
    (malformed,) = (plugin for plugin in broken.plugins if plugin.distribution == "malformed")
    assert malformed.trouble == "plugin malformed/* 0.1 failed to load: its entry_points.txt cannot be read"


def test_nothing_of_a_broken_plugin_stays(broken: Registry) -> None:
    assert names(broken) == ["broken-plugins/healthy"]
    assert [plugin.name for plugin in broken.plugins if plugin.status == "loaded"] == ["healthy"]
    assert all(plugin.specs == () for plugin in broken.plugins if plugin.status != "loaded")
    assert not broken.listens("ganzoo_log")
    with pytest.raises(UserError, match="unknown model 'raises'"):
        broken.get("model", "raises")


@pytest.mark.parametrize("name", [*REASONS, "malformed"])
def test_strict_makes_each_failure_fatal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {*REASONS, "malformed"} - {name}
    monkeypatch.setenv("GANZOO_STRICT_PLUGINS", "1")
    if name == "malformed":
        monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", "broken_plugins")
        expected = "plugin malformed/"
    else:
        monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", ",".join(others))
        expected = f"plugin broken-plugins/{name} 1.2 failed to load: {REASONS[name]}"
    with importable(BROKEN), pytest.raises(UserError) as raised:
        Registry([str(BROKEN)])
    assert str(raised.value).startswith(expected)
    assert str(raised.value).endswith("(GANZOO_STRICT_PLUGINS is set)")


@pytest.mark.parametrize("value", ["", "0"])
def test_strict_can_be_off(value: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANZOO_STRICT_PLUGINS", value)
    site.add("one", plugin="1 / 0")
    assert [plugin.status for plugin in site.load().plugins] == ["failed"]


def test_an_unknown_hook_may_be_marked_optional(site: Site) -> None:
    site.add("one", plugin=offers("x", then="@hookimpl(optionalhook=True)\ndef ganzoo_later(): pass\n"))
    assert names(site.load()) == ["one/x"]


def test_a_plugin_may_offer_nothing(site: Site) -> None:
    site.add("one", plugin="HOOK_API = 1")
    (plugin,) = site.load().plugins
    assert (plugin.status, plugin.specs, plugin.trouble) == ("loaded", (), "")


# Discovery


def test_order_is_bundled_first_then_by_distribution_and_name(site: Site) -> None:
    site.add("zebra", b=offers("1", "0"), a=offers("2"))
    site.add("Aardvark", m=offers("3"))
    site.add("torch-ganzoo", z=offers("4"), y=offers("5"))
    site.add("torch", t=offers("6"))
    assert names(site.load()) == [
        "torch-ganzoo/5", "torch-ganzoo/4", "aardvark/3", "torch/6", "zebra/2", "zebra/1", "zebra/0",
    ]  # fmt: skip


def test_loading_twice_gives_the_same(site: Site) -> None:
    site.add("one", a=offers("x"), b="1 / 0")
    site.add("two", a=offers("x", kind="loss"))
    first, second = site.load(), site.load()
    assert first.plugins == second.plugins
    assert first.specs() == second.specs()
    assert len(set(first.plugins)) == 3, "plugins can be members of sets"


def test_a_plugin_says_where_it_comes_from(site: Site) -> None:
    site.add("One.Two_three", "2.5", plugin=offers("x"))
    registry = site.load()
    spec = Spec("model", "x", "Summary.", "nowhere:Thing", defaults={"a": 1})
    assert registry.plugins == [Plugin("plugin", "one-two-three", "2.5", "One_Two_three_plugin", (spec,), "loaded", "")]
    assert str(registry.plugins[0]) == "one-two-three/plugin 2.5"
    (entry,) = registry.specs("model")
    assert (entry.spec, entry.distribution, entry.version) == (spec, "one-two-three", "2.5")
    assert registry.specs("loss") == []


def test_of_two_copies_the_first_on_the_path_counts(site: Site) -> None:
    site.add("one", "2.0", at="first", new=offers("new"))
    site.add("one", "1.0", at="second", old=offers("old"))
    first, second = str(site.folder / "first"), str(site.folder / "second")
    with importable(site.folder / "second"), importable(site.folder / "first"):
        assert names(Registry([first, second])) == ["one/new"]
        assert names(Registry([second, first])) == ["one/old"]
        assert names(Registry([first, first])) == ["one/new"]


def test_a_first_copy_without_plugins_hides_those_of_the_second(site: Site) -> None:
    site.add("one", "2.0", at="first")
    site.add("one", "1.0", at="second", old=offers("old"))
    with importable(site.folder / "second"):
        assert Registry([str(site.folder / "first"), str(site.folder / "second")]).plugins == []


def test_what_pip_could_not_remove_is_no_plugin(site: Site) -> None:
    site.add("one", plugin=offers("x"))
    (site.folder / "one-1.0.dist-info").rename(site.folder / "~ne-1.0.dist-info")
    assert site.load().plugins == []


# Names


def test_names(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.add("torch-ganzoo", plugin=offers("dcgan"))
    site.add("My_Zoo", plugin=offers("infogan"))
    registry = site.load()
    for name in ("infogan", "my-zoo/infogan", "My_Zoo/infogan", "my.zoo/infogan"):
        assert registry.get("model", name).name == "my-zoo/infogan"
    assert registry.get("model", "dcgan") == registry.get("model", "torch_ganzoo/dcgan") == registry.specs()[0]
    assert not caplog.records


def test_a_bundled_key_wins_and_that_is_said_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.add("aaa", plugin=offers("x"))
    site.add("torch-ganzoo", plugin=offers("x"))
    site.add("bbb", plugin=offers("x"))
    registry = site.load()
    assert registry.get("model", "aaa/x").name == "aaa/x"
    assert registry.get("model", "torch-ganzoo/x").name == "torch-ganzoo/x"
    assert not caplog.records, "only the short name is in doubt, and only once it is used"
    assert registry.get("model", "x").name == registry.get("model", "x").name == "torch-ganzoo/x"
    assert caplog.messages == ["the model 'x' means torch-ganzoo/x; there is also aaa/x and bbb/x"]
    assert names(registry) == ["torch-ganzoo/x", "aaa/x", "bbb/x"]


def test_two_third_parties_collide_on_use_alone(site: Site) -> None:
    site.add("bbb", plugin=offers("x", "y", kind="dataset"))
    site.add("aaa", plugin=offers("x", kind="dataset"))
    registry = site.load()
    assert [plugin.status for plugin in registry.plugins] == ["loaded", "loaded"]
    assert registry.get("dataset", "y").name == "bbb/y"
    assert registry.get("dataset", "aaa/x").name == "aaa/x"
    with pytest.raises(UserError, match=r"^the data set 'x' is offered by aaa/x and bbb/x: say which$"):
        registry.get("dataset", "x")


def test_equal_keys_of_different_kinds_are_no_collision(site: Site) -> None:
    site.add("aaa", plugin=offers("x"))
    site.add("bbb", plugin=offers("x", kind="loss"), more=offers("x", kind="metric"))
    registry = site.load()
    assert registry.get("model", "x").name == "aaa/x"
    assert registry.get("loss", "x").spec.kind == "loss"
    assert registry.get("metric", "bbb/x").spec.kind == "metric"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("model", "wgan_gp_con", "unknown model 'wgan_gp_con'; did you mean 'wgan_gp_conv'?"),
        ("model", "one/wgan_gp_con", "unknown model 'one/wgan_gp_con'; did you mean 'one/wgan_gp_conv'?"),
        ("model", "oen/wgan_gp_conv", "unknown model 'oen/wgan_gp_conv'; did you mean 'one/wgan_gp_conv'?"),
        ("model", "qqqq", "unknown model 'qqqq'; there is: dcgan, wgan_gp_conv"),
        ("model", "", "unknown model ''; there is: dcgan, wgan_gp_conv"),
        ("model", "/dcgan", "unknown model '/dcgan'; did you mean 'one/dcgan'?"),
        ("pretrained", "x", "unknown pretrained model 'x'"),
    ],
)
def test_unknown_names(kind: Any, name: str, message: str, site: Site) -> None:
    site.add("one", plugin=offers("wgan_gp_conv", "dcgan"))
    with pytest.raises(UserError) as raised:
        site.load().get(kind, name)
    assert str(raised.value) == message


def test_an_unknown_name_quotes_whose_fault_it_might_be(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("foo", "1.2", main="import nothing_like_that")
    site.add("bar", "0.1", main=offers("infogan"), other=offers("dcgan"))
    monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", "bar/main")
    registry = site.load()
    failed = " (plugin foo/main 1.2 failed to load: ModuleNotFoundError: No module named 'nothing_like_that')"
    disabled = " (plugin bar/main 0.1 is disabled by GANZOO_DISABLE_PLUGINS)"
    for name, quoted in {"zzz": disabled + failed, "Foo/zzz": failed, "bar/zzz": disabled, "baz/zzz": ""}.items():
        with pytest.raises(UserError) as raised:
            registry.get("loss", name)
        assert str(raised.value) == f"unknown loss {name!r}{quoted}"


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["torch-ganzoo", "a", "b-c", "zzz"]),
        st.lists(st.tuples(st.sampled_from(["model", "loss"]), st.sampled_from(["x", "y", "a", "b-c"])), unique=True),
    )
)
def test_a_name_means_what_the_rules_say(offered: dict[str, list[tuple[str, str]]]) -> None:
    with TemporaryDirectory() as folder, importable(Path(folder)):
        site = Site(Path(folder))
        for distribution, specs in offered.items():
            by_kind = "".join(
                offers(*[key for kind, key in specs if kind == wanted], kind=wanted).replace("_specs", f"_{wanted}")
                for wanted in ("model", "loss")
            ).replace("@hookimpl", "@hookimpl(specname='ganzoo_specs')")
            site.add(distribution, plugin=by_kind)
        registry = site.load()
    for kind in ("model", "loss"):
        for key in ("x", "y", "a", "b-c"):
            having = sorted(distribution for distribution, specs in offered.items() if (kind, key) in specs)
            for distribution in ("torch-ganzoo", "a", "b-c", "zzz"):
                assert outcome(registry, kind, f"{distribution}/{key}") == (
                    f"{distribution}/{key}" if distribution in having else "unknown"
                )
            if "torch-ganzoo" in having:
                expected = f"torch-ganzoo/{key}"
            elif len(having) == 1:
                expected = f"{having[0]}/{key}"
            else:
                expected = "collision of " + " and ".join(f"{one}/{key}" for one in having) if having else "unknown"
            assert outcome(registry, kind, key) == expected


def outcome(registry: Registry, kind: Any, name: str) -> str:
    try:
        entry = registry.get(kind, name)
    except UserError as error:
        text = str(error)
        if text.startswith("unknown"):
            return "unknown"
        return "collision of " + text.split("offered by ")[1].removesuffix(": say which")
    assert entry.spec.kind == kind
    return entry.name


# The environment


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("", ["one/x", "one/y", "two-three/z"]),
        (" , ,", ["one/x", "one/y", "two-three/z"]),
        ("one", ["two-three/z"]),
        ("Two_Three", ["one/x", "one/y"]),
        ("one/first_one", ["one/y", "two-three/z"]),
        ("first_one", ["one/y"]),
        (" second , two.three/first_one", ["one/x"]),
        ("two-three/second,x,one/x,nobody", ["one/x", "one/y", "two-three/z"]),
    ],
)
def test_plugins_can_be_disabled(value: str, left: list[str], site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("one", first_one=offers("x"), second=offers("y"))
    site.add("two-three", first_one=offers("z"))
    monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", value)
    registry = site.load()
    assert names(registry) == left
    assert len(registry.plugins) == 3
    for plugin in registry.plugins:
        assert (plugin.status == "loaded") == bool(plugin.specs) == (plugin.module in sys.modules)
        if not plugin.specs:
            assert (plugin.status, plugin.reason) == ("disabled", "disabled by GANZOO_DISABLE_PLUGINS")


# Telling


LISTENER = """
heard = []

@hookimpl
def ganzoo_log(step, metrics):
    heard.append(("log", step, dict(metrics)))

@hookimpl
def ganzoo_fit_end(outcome, step=None, added_in_api_2="default"):
    heard.append((outcome, step, added_in_api_2))
"""
FAILING = """
calls = []

@hookimpl
def ganzoo_log(step):
    calls.append(step)
    raise {error}

@hookimpl
def ganzoo_fit_end(step):
    calls.append(step)
"""


def tell(registry: Registry, step: int) -> None:
    registry.notify("ganzoo_log", run=Path(), step=step, metrics={"loss": 1.0})


def test_each_listener_gets_what_it_takes(site: Site) -> None:
    site.add("one", plugin=LISTENER)
    registry = site.load()
    tell(registry, 5)
    registry.notify("ganzoo_fit_end", run=Path(), step=6, outcome="done")
    assert sys.modules["one_plugin"].heard == [("log", 5, {"loss": 1.0}), ("done", 6, "default")]


def test_listeners_are_told_in_loading_order(site: Site) -> None:
    source = "import sys\n@hookimpl({})\ndef ganzoo_log():\n    sys.heard.append(__name__)\n"
    site.add("zzz", plugin=source.format("tryfirst=True"))
    site.add("aaa", plugin=source.format("trylast=True"))
    site.add("torch-ganzoo", plugin=source.format(""))
    sys.heard = heard = []  # type: ignore[attr-defined]
    try:
        tell(site.load(), 1)
    finally:
        del sys.heard  # type: ignore[attr-defined]
    assert heard == ["torch_ganzoo_plugin", "aaa_plugin", "zzz_plugin"]


@pytest.mark.parametrize("error", ["ValueError('no\\n disk')", "SystemExit(3)", "KeyboardInterrupt(3)"])
def test_a_failing_listener_harms_nobody(error: str, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.add("aaa", "1.2", plugin=FAILING.format(error=error))
    site.add("bbb", plugin=LISTENER)
    registry = site.load()
    for step in (1, 2, 3):
        tell(registry, step)
    registry.notify("ganzoo_fit_end", run=Path(), step=4, outcome="done")
    assert [entry[1] for entry in sys.modules["bbb_plugin"].heard] == [1, 2, 3, 4]
    assert sys.modules["aaa_plugin"].calls == [1], "it is told nothing more, of other hooks neither"
    sentence = f"{error.partition('(')[0]}: {'3' if '3' in error else 'no disk'}"
    assert caplog.messages == [f"plugin aaa/plugin 1.2 failed in ganzoo_log and is told nothing more: {sentence}"]
    assert registry.plugins[0].status == "loaded"


def test_listens(site: Site) -> None:
    site.add("one", plugin=FAILING.format(error="ValueError"))
    registry = site.load()
    assert registry.listens("ganzoo_log")
    assert not registry.listens("ganzoo_samples")
    tell(registry, 1)
    assert not registry.listens("ganzoo_log")
    assert not registry.listens("ganzoo_fit_end")


def test_telling_wrongly_is_our_fault_and_no_plugins(site: Site) -> None:
    with pytest.raises(AssertionError, match="ganzoo_log takes"):
        site.load().notify("ganzoo_log", step=1)
    with pytest.raises(KeyError):
        site.load().notify("ganzoo_lgo", step=1)


# The process


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=True
    )


def test_loading_imports_nothing_heavy() -> None:
    heavy = {"torch", "torchvision", "numpy", "pydantic", "PIL", "typer", "rich", "onnx", "onnxruntime", "matplotlib"}
    code = "import sys, ganzoo; ganzoo.load_registry(); print(*{name.partition('.')[0] for name in sys.modules})"
    imported = set(python(code).stdout.split())
    assert "ganzoo" in imported
    assert not heavy & imported


def test_without_any_logging_set_up_a_note_is_one_sentence_on_stderr(site: Site) -> None:
    site.add("aaa", plugin=FAILING.format(error="ValueError('no disk')"))
    code = """
import ganzoo
for step in (1, 2):
    ganzoo.load_registry().notify("ganzoo_log", run=None, step=step, metrics={})
"""
    done = python(code, PYTHONPATH=str(site.folder), GANZOO_DISABLE_PLUGINS="torch-ganzoo")
    note = "plugin aaa/plugin 1.0 failed in ganzoo_log and is told nothing more: ValueError: no disk\n"
    assert (done.stdout, done.stderr) == ("", note)


def test_load_registry_loads_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing but this site and the standard library, so that what is installed does not matter.
    library = [sysconfig.get_path("stdlib"), *[entry for entry in sys.path if entry.endswith("lib-dynload")]]
    monkeypatch.setattr(sys, "path", [str(site.folder), *library])
    site.add("one", plugin="1 / 0", other=offers("x"))
    load_registry.cache_clear()
    try:
        monkeypatch.setenv("GANZOO_STRICT_PLUGINS", "1")
        with pytest.raises(UserError, match="ZeroDivisionError"):
            load_registry()
        monkeypatch.delenv("GANZOO_STRICT_PLUGINS")
        assert "one/x" in names(load_registry()), "the error is not remembered"
        assert load_registry() is load_registry()
        site.add("two", plugin=offers("y"))
        assert "two/y" not in names(load_registry())
        load_registry.cache_clear()
        assert names(load_registry())[-2:] == ["one/x", "two/y"]
    finally:
        load_registry.cache_clear()


# --- Discovery


def test_what_is_discovered_is_what_importlib_finds() -> None:
    path = [sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")]
    expected = {
        (normalized(each.metadata["Name"]), each.version, entry.name, entry.value)
        for each in metadata.distributions(path=path)
        for entry in each.entry_points.select(group="ganzoo.plugins")
    }
    found = {(each.name, each.version, *plugin) for each in discover(path) for plugin in each.plugins or ()}
    assert len(found) > 10
    assert found == expected


def test_plugins_in_a_zip_file_and_of_an_egg_are_found(site: Site, tmp_path: Path) -> None:
    site.add("zipped", at="packed", a=offers("x"))
    with ZipFile(tmp_path / "site.zip", "w") as archive:
        for path in (tmp_path / "packed").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "packed"))
    egg = tmp_path / "old" / "laid.egg-info"
    egg.mkdir(parents=True)
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: laid\nVersion: 3\n\nName: not this\n")
    (egg / "entry_points.txt").write_text("# a comment\n[other]\nx = y\n[ganzoo.plugins]\nb = laid_b\n\n")
    path = [str(tmp_path / "gone"), str(tmp_path / "site.zip"), str(tmp_path / "old"), __file__]
    assert discover(path) == [
        Distribution("laid", "3", (("b", "laid_b"),)),
        Distribution("zipped", "1.0", (("a", "zipped_a"),)),
    ]
