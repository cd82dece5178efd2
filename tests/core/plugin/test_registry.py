"""The registry, with real entry points in folders made for the purpose."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import Site, importable

from ganzoo import Spec, UserError, load_registry
from ganzoo.plugin.discovery import Distribution, discover, normalized
from ganzoo.plugin.loading import Plugin
from ganzoo.plugin.registry import Registry


def offers(*keys: str, kind: str = "model", then: str = "") -> str:
    specs = [f"Spec({kind!r}, {key!r}, 'Summary.', 'nowhere:Thing', defaults={{'a': 1}})" for key in keys]
    return f"@hookimpl\ndef ganzoo_specs():\n    return [{', '.join(specs)}]\n{then}"


def names(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.specs()]


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
    site.add("aaa", plugin="@hookimpl\ndef ganzoo_log():\n    raise ValueError('no disk')\n")
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
