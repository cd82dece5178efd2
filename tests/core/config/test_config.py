"""Settings: how they are written, laid over each other, and read back from what a run has recorded."""

from __future__ import annotations

import datetime
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ganzoo import Config, UserError, load_config, load_registry
from ganzoo.config.merging import flat, merge, parse_set
from ganzoo.config.resolving import overlay
from ganzoo.config.train_settings import HalfLife
from ganzoo.config.validation import validate

REGISTRY = load_registry()

plain_keys = st.text("abcxyz_09-", min_size=1, max_size=6)
any_keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=6)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=10),
)
values = st.one_of(scalars, st.lists(scalars, max_size=3))
tables: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(plain_keys, scalars, max_size=3),
    lambda inner: st.dictionaries(plain_keys, st.one_of(scalars, inner), max_size=3),
    max_leaves=6,
)


def toml(value: object) -> str:
    """Write a value in TOML, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").strip()


def nested(keys: list[str], value: object) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    return value


# --- --set


@given(st.lists(plain_keys, min_size=1, max_size=4), values)
def test_set_reads_toml(keys: list[str], value: object) -> None:
    assert parse_set(f"{'.'.join(keys)}={toml(value)}") == nested(keys, value)


@given(st.lists(any_keys, min_size=1, max_size=3), st.integers())
def test_set_takes_quoted_keys(keys: list[str], value: int) -> None:
    quoted = ".".join(toml(key) for key in keys)
    if "=" not in quoted:
        assert parse_set(f"{quoted}={value}") == nested(keys, value)


@given(st.lists(plain_keys, min_size=1, max_size=3), st.text(st.characters(codec="utf-8"), max_size=20))
@example(["steps"], "3\nseed=4")
@example(["path"], "2024-01-31")
@example(["path"], "12:30:00")
@example(["path"], "C:\\images")
@example(["a"], "x=y")
def test_what_is_no_toml_is_text(keys: list[str], text: str) -> None:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        document = {}
    value = document.get("value", "") if len(document) == 1 else ""
    if document.keys() == {"value"} and not isinstance(value, datetime.date | datetime.time):
        assert parse_set(f"{'.'.join(keys)}={text}") == nested(keys, value) or value != value
    else:
        assert parse_set(f"{'.'.join(keys)}={text}") == nested(keys, text.strip())


@given(st.text(max_size=20))
@example("")
@example("=")
@example("a.=1")
@example(".a=1")
@example("a\nb=1")
@example("a = 1\nb = 2")
def test_set_takes_or_refuses_any_text(text: str) -> None:
    try:
        parsed = parse_set(text)
    except UserError:
        return
    assert "=" in text
    while isinstance(parsed, dict) and parsed:
        assert len(parsed) == 1 or "{" in text
        parsed = next(iter(parsed.values()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=adam", "adam"),
        ("a= 24 ", 24),
        ("a=1_000", 1000),
        ("a=1e-4", 1e-4),
        ("a=true", True),
        ("a='24'", "24"),
        ("a=[0, 0.9]", [0, 0.9]),
        ("a=", ""),
        ("a=/tmp/my images", "/tmp/my images"),
        ("a={b = 3}", {"b": 3}),
    ],
)
def test_examples_of_set(text: str, value: object) -> None:
    assert parse_set(text) == {"a": value}


# --- Layers


@given(tables, tables)
def test_merging_keeps_the_upper_layer_and_what_it_does_not_mention(low: dict[str, Any], high: dict[str, Any]) -> None:
    before = (repr(low), repr(high))
    merged = merge(low, high)
    assert (repr(low), repr(high)) == before
    for name, value in flat(high).items():
        assert flat(merged)[name] == value
    assert merged.keys() == low.keys() | high.keys()
    for key in low.keys() - high.keys():
        assert merged[key] == low[key]
    assert merge(merged, high) == merged
    assert merge({}, high) == high
    assert merge(low, {}) == low


@given(tables, tables, tables)
def test_merging_is_associative_on_settings(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    def shape(table: dict[str, Any]) -> set[str]:
        return {name for name, value in table.items() if isinstance(value, dict)}

    if not shape(a) | shape(b) | shape(c):
        assert merge(merge(a, b), c) == merge(a, merge(b, c))


def test_a_new_name_clears_the_settings_of_the_old_one() -> None:
    low = {"data": {"name": "a", "size": 3}}
    assert overlay(low, {"data": {"name": "b"}}) == {"data": {"name": "b"}}
    assert overlay(low, {"data": {"name": "a", "x": 1}}) == {"data": {"name": "a", "size": 3, "x": 1}}
    assert overlay(low, {"data": {"size": 4}}) == {"data": {"name": "a", "size": 4}}
    optimizer = {"model": {"optimizer": {"name": "adam", "lr": 1}}}  # which is no plugin
    assert overlay(optimizer, {"model": {"optimizer": {"name": "sgd"}}})["model"]["optimizer"]["lr"] == 1


# --- Whole configs

DATA: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "digits": st.just({}),
    "gaussians": st.fixed_dictionaries(
        {},
        optional={
            "layout": st.sampled_from(["grid", "ring"]),
            "modes": st.integers(1, 100),
            "sigma": st.floats(1e-6, 1e6),
            "size": st.integers(1, 1000),
        },
    ),
    "folder": st.fixed_dictionaries(
        {"path": st.text("abc/ .ä'\"\\", min_size=1)},
        optional={
            "size": st.one_of(st.integers(1, 64), st.tuples(st.integers(1, 64), st.integers(1, 64)).map(list)),
            "memory": st.integers(0, 2**40),
            "flip": st.booleans(),
        },
    ),
}
TRAIN = {
    "steps": st.integers(1, 10**9),
    "seed": st.integers(0, 2**63 - 1),
    "ema": st.floats(0, 1, exclude_max=True),
    "clip_grad": st.floats(1e-9, 1e9),
    "precision": st.sampled_from(["auto", "fp32", "tf32", "bf16"]),
    "threads": st.integers(1, 64),
}
MODEL = {
    "width": st.integers(1, 100),
    "stem": st.integers(1, 100),
    "n_critic": st.integers(1, 9),
    "optimizer": st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["adam", "adamw", "rmsprop", "sgd"]),
            "lr": st.floats(1e-9, 1, exclude_min=True),
            "betas": st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)).map(list),
        },
    ),
}
REGULARIZER = st.fixed_dictionaries({}, optional={"weight": st.floats(0, 1e6), "interval": st.integers(1, 16)})


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """Anything that a user may reasonably set for the convolutional model."""
    layer = draw(st.fixed_dictionaries({}, optional={**TRAIN, "preset": st.just("textbook")}))
    layer["model"] = draw(st.fixed_dictionaries({}, optional=MODEL))
    data = draw(st.sampled_from(sorted(DATA)))
    layer["data"] = {"name": data, **draw(DATA[data])}
    if draw(st.booleans()):
        layer["loss"] = {"name": draw(st.sampled_from(["wgan", "torch-ganzoo/wgan_gp", "non_saturating"]))}
    layer["regularizer"] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "gradient_penalty": st.just(False) | REGULARIZER,
                "torch-ganzoo/weight_clip": st.just(False) | REGULARIZER,
            },
        )
    )
    return layer


def test_averages_by_half_life_and_by_decay_stand_in_for_each_other(tmp_path: Path) -> None:
    config = load_config(REGISTRY, "wgan_gp_conv", sets=["ema.halflife=5e5", "ema.rampup=0.05"])
    assert config.train.ema == HalfLife(halflife=5e5, rampup=0.05)
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(config.to_dict()), encoding="utf-8")
    assert load_config(REGISTRY, file=path) == config
    assert load_config(REGISTRY, file=path, sets=["ema.halflife=7"]).train.ema == HalfLife(halflife=7, rampup=0.05)
    assert load_config(REGISTRY, file=path, sets=["ema=0.5"]).train.ema == 0.5


@settings(deadline=None, max_examples=60)
@given(layers())
def test_a_config_goes_through_toml_and_back(tmp_path_factory: pytest.TempPathFactory, layer: dict[str, Any]) -> None:
    config = load_config(REGISTRY, "wgan_gp_conv", flags=layer)
    for name, value in flat({key: layer[key] for key in layer if key in TRAIN}).items():
        assert getattr(config.train, name) == value
    path = tmp_path_factory.getbasetemp() / "config.toml"
    path.write_text(
        tomli_w.dumps({**config.to_dict(), "environment": {"torch": "1"}, "data_spec": {}}), encoding="utf-8"
    )
    assert load_config(REGISTRY, file=path) == config
    # The same settings one by one, in the order of a dictionary, are the same config.
    if layer["data"]["name"] != "folder" and "regularizer" in layer:
        sets = [f"{name}={toml(value)}" for name, value in flat(layer).items()]
        sets += [f"regularizer.{name}={{}}" for name, table in layer["regularizer"].items() if table == {}]
        assert load_config(REGISTRY, "wgan_gp_conv", sets=sets) == config
        assert load_config(REGISTRY, "wgan_gp_conv", sets=sets[::-1]) == config


@settings(deadline=None, max_examples=30)
@given(layers(), layers(), layers())
def test_flags_beat_sets_beat_the_file(
    tmp_path_factory: pytest.TempPathFactory, file: dict[str, Any], sets: dict[str, Any], flags: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "file.toml"
    path.write_text(tomli_w.dumps(file), encoding="utf-8")
    # A path with quotes and the like is not for the command line.
    sets["data"] = {"name": "digits"}
    texts = [f"{name}={toml(value)}" for name, value in flat(sets).items()]
    config = load_config(REGISTRY, "wgan_gp_conv", file=path, sets=texts, flags=flags)
    for name in TRAIN:
        wanted = next((layer[name] for layer in (flags, sets, file) if name in layer), None)
        assert wanted is None or getattr(config.train, name) == wanted
    assert config.data.key == flags["data"]["name"]
    for name, value in flags["data"].items():
        if name not in ("name", "path", "size"):
            assert getattr(config.data.settings, name) == value
    loss = next((layer["loss"]["name"] for layer in (flags, sets, file) if "loss" in layer), "wgan_gp")
    assert config.loss is not None
    assert config.loss.key == loss.rpartition("/")[2]


def test_a_nested_setting_leaves_those_beside_it_as_the_model_has_them() -> None:
    for entry in REGISTRY.specs("model"):
        usual = load_config(REGISTRY, entry.name)
        changed = load_config(REGISTRY, entry.name, sets=["model.optimizer.weight_decay=0.25"])
        expected = usual.to_dict()
        expected["model"]["optimizer"]["weight_decay"] = 0.25
        assert changed.to_dict() == expected


def test_every_bundled_model_loads_with_every_preset() -> None:
    for entry in REGISTRY.specs("model"):
        for preset in (None, *entry.spec.load().presets):
            config = load_config(REGISTRY, entry.name, preset=preset)
            assert isinstance(config, Config)
            assert config.model.entry == entry


# --- One section


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate: float = Field(0.1, gt=0)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = Field(1, ge=1)
    size: int | tuple[int, int] | None = None
    mode: Literal["a", "b"] = "a"
    pair: tuple[float, float] = (0, 0)
    inner: Inner = Inner()
    needed: str

    @model_validator(mode="after")
    def _even(self) -> Outer:
        if self.width > 100:
            raise ValueError("Width above 100 needs a size")
        return self


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 1}, "unknown setting 's.widht'; did you mean 's.width'?"),
        ({"rate": 1}, "unknown setting 's.rate'; did you mean 's.inner.rate'?"),
        ({"inner": {"raet": 1}}, "unknown setting 's.inner.raet'; did you mean 's.inner.rate'?"),
        ({"iner": {"rate": 1}}, "unknown setting 's.iner.rate'; did you mean 's.inner.rate'?"),
        ({"qqq": 1}, "unknown setting 's.qqq'; there is: s.width, s.size, s.mode, s.pair, s.needed"),
        ({}, "the setting 's.needed' is required; give it with --set s.needed=..."),
        ({"needed": "x", "width": 0}, "setting 's.width': it is at least 1, not 0"),
        ({"needed": "x", "inner": {"rate": 0}}, "setting 's.inner.rate': it is above 0, not 0"),
        ({"needed": "x", "size": "big"}, "setting 's.size': it is a whole number or a list, not 'big'"),
        ({"needed": "x", "mode": "c"}, "setting 's.mode': it is 'a' or 'b', not 'c'"),
        ({"needed": "x", "pair": [1, "x"]}, "setting 's.pair': it is a number, not 'x'"),
        ({"needed": "x", "pair": [1]}, "setting 's.pair': more values are required, not [1]"),
        ({"needed": "x", "width": 101}, "the settings of 's' do not go together: width above 100 needs a size"),
        ({"needed": ["x" * 500]}, "setting 's.needed': it is a text, not ['xxx"),
    ],
)
def test_complaints(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        validate(Outer, "s", values)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "name a model"),
        (b"plugin = 3", "'plugin' is a name, not 3"),
        (b"plugin = 'gan_fc'\nmodel = []", "'model' is a table of settings, not"),
        (b"plugin = 'gan_fc'\n[data]\nname = ['x']", "'data.name' is a name, not"),
        (
            b"plugin = 'gan_fc'\nregularizer = {weight_clip = 3}",
            "'regularizer.weight_clip' is a table of settings, not 3",
        ),
        (b"plugin = 'gan_fc'\nplugin = 'gan_fc'", "is not TOML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"a = " + b"[" * 5000, "is not TOML"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "file.toml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_config(REGISTRY, file=tmp_path / "file.toml")
    assert words in str(caught.value)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["plugin", "preset", "steps", "model", "data", "loss", "regularizer", "metric"]),
        st.one_of(
            values, st.dictionaries(st.sampled_from(["name", "weight_clip", "width"]), st.one_of(values, tables))
        ),
    )
)
def test_any_file_loads_or_is_refused(layer: dict[str, Any]) -> None:
    with suppress(UserError):
        load_config(REGISTRY, "wgan_gp_conv", flags=layer)
