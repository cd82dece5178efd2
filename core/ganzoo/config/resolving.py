"""Resolving config layers (defaults, presets, files, flags) into one config.

The config layers, each over the one before: the core's defaults, the model's, its spec's, the config of what weights
start from, the preset, the config file, ``--set``, flags. First it is decided which model, data set and loss are used.
A section of a layer that names another one is dropped as a whole, since its settings were meant for the other plugin.
Settings without a name are for the chosen one, so that ``--data folder --set data.path=images`` works in either order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from ganzoo.config.data_choice import GIVEN_NAME
from ganzoo.config.merging import merge, parse_set
from ganzoo.config.renamed import current
from ganzoo.config.validation import dotted, validate
from ganzoo.configured import Named
from ganzoo.data.objects import GIVEN
from ganzoo.errors import UserError, did_you_mean, path_of
from ganzoo.files import read_toml
from ganzoo.plugin.registry import Entry, Registry, UnknownNameError
from ganzoo.plugin.spec import SAID, Kind

if TYPE_CHECKING:
    from ganzoo.gan.trainer import Trainer
from ganzoo.config.config import Choice, Config
from ganzoo.config.train_settings import TrainSettings

__all__ = ["load_config", "overlay", "recorded"]

Layer = Mapping[str, Any]

Model = TypeVar("Model", bound=BaseModel)

_UNREAD = ("environment", "data_spec")  # tables of a run's config.toml that record and do not configure

_NAMING: tuple[tuple[str, Kind, Kind | None], ...] = (
    *(("data", "dataset", "metric"), ("loss", "loss", "regularizer")),
    ("lr_schedule", "schedule", None),
)
"""Sections that name a plugin, and the table that takes entries from the plugin named."""

_TABLES: tuple[Kind, ...] = ("regularizer", "metric", "tracker")
"""Sections with a table for each plugin, by its name; false in its place leaves it out."""

_TAKEN = ("plugin", "model", "loss", "regularizer", "data")
"""What is taken over from the config of what a training starts from: the GAN, and not how it was trained."""

_AS = {
    "model": "model.SETTING=VALUE",
    "data": "data.name=NAME",
    "loss": "loss.name=NAME",
    "regularizer": "regularizer.NAME.SETTING=VALUE",
    "metric": "metric.NAME.SETTING=VALUE",
    "tracker": "tracker.NAME.SETTING=VALUE",
    "lr_schedule": "lr_schedule.name=NAME",
}
"""The sections, and how one sets something in them."""


def load_config(
    registry: Registry,
    plugin: str | None = None,
    *,
    preset: str | None = None,
    file: str | PathLike[str] | Layer | None = None,
    sets: Sequence[str] = (),
    flags: Layer | None = None,
    source: Layer | None = None,
) -> Config:
    """Resolve a config from its layers.

    ``file`` is a TOML file, or what such a file would hold; ``sets`` are ``"a.b=value"`` assignments; ``flags`` is the
    layer on top. ``source`` is the config of what the training starts from, whose model is the default; of it, and of
    no other model, settings, loss, regularizers and, if none is named, data are taken over. Raises :class:`UserError`,
    in one sentence, for anything unknown (with the closest match), misspelled or out of range.
    """
    from_file: Layer = {}
    if file is not None:
        from_file = current(file if isinstance(file, Mapping) else read_toml(path_of("config", file)))
    try:
        return _resolve(registry, plugin, preset, from_file, sets, flags, source)
    except UnknownNameError as error:
        raise UserError(recorded(registry, error, {**(source or {}), **from_file})) from None


def recorded(registry: Registry, error: UserError, document: Mapping[str, Any]) -> str:
    """Return the text of an error; for an unknown name in a run's config.toml, name the missing distribution.

    This is the distribution that the run recorded, if it is not installed or has another version now.
    """
    if not isinstance(error, UnknownNameError):
        return str(error)
    distribution, _, key = error.name.rpartition("/")
    if error.kind == "dataset" and error.name in (GIVEN, GIVEN_NAME):
        return "the training data was given as an object in Python: give it again there, with data="
    environment = document.get("environment")
    plugins = environment.get("plugins") if isinstance(environment, Mapping) else None
    version = plugins.get(distribution) if isinstance(plugins, Mapping) else None
    # Both go into a pip command that people copy, and the file may come from anyone: only what pip accepts as a name
    # and a version is let through.
    if not (isinstance(version, str) and re.fullmatch(r"\w[\w.-]*@\w[\w.+!-]*", f"{distribution}@{version}", re.ASCII)):
        return str(error)
    here = [plugin for plugin in registry.plugins if plugin.distribution == distribution]
    if any(plugin.trouble or plugin.version == version for plugin in here):
        return str(error)  # what the trouble is, or what is meant
    is_missing = f"which {here[0].version} does not have" if here else "which is not installed"
    return (
        f"it was trained with the {SAID[error.kind]} {key!r} of {distribution} {version}, {is_missing}; "
        f"pip install {distribution}=={version}"
    )


def _resolve(
    registry: Registry,
    plugin: str | None,
    preset: str | None,
    from_file: Layer,
    sets: Sequence[str],
    flags: Layer | None,
    source: Layer | None,
) -> Config:
    user: list[dict[str, Any]] = [{key: value for key, value in from_file.items() if key not in _UNREAD}]
    user += [parse_set(text) for text in sets]
    user.append(dict(flags or {}))
    user = [_spelled_out(layer) for layer in user]
    taken = {key: value for key, value in (source or {}).items() if key in _TAKEN}
    for layer in (taken, *user):
        _check_sections(layer)
    plugin = plugin or _last("plugin", [taken, *user])
    if plugin is None:
        why = "" if source is None else ", as what the training starts from does not say which it is of"
        raise UserError(f"name a model with --plugin, or a config file that does{why}; 'ganzoo list model' shows them")
    entry = registry.get("model", plugin)
    # A config file for another model: its data set, loss and steps are of use here, its model settings are not.
    for layer in user:
        if "plugin" in layer and registry.get("model", layer["plugin"]) != entry:
            layer.pop("model", None)
            layer.pop("preset", None)
    preset = preset or _last("preset", user)
    trainer: type[Trainer] = entry.spec.load()
    layers: list[Layer] = [trainer.defaults, entry.spec.defaults]
    if taken.pop("plugin", "") == entry.name:
        if any("name" in layer.get("data", {}) for layer in user):
            taken.pop("data", None)
        elif taken.get("data", {}).get("name") == GIVEN_NAME:
            raise UserError("what the training starts from learned from data without a name: give data with --data")
        layers.append(taken)
    if preset is not None:
        if not isinstance(preset, str) or preset not in trainer.presets:
            raise UserError(f"{plugin} has no preset {preset!r}{did_you_mean(str(preset), trainer.presets)}")
        layers.append(trainer.presets[preset])
    # Defaults and presets are merged before the user's layers. Names are made full first, or "wgan" in one layer and
    # "torch-ganzoo/wgan" in another would count as two plugins.
    merged: dict[str, Any] = {}
    for suggested in layers:
        layer = _qualified(registry, _spelled_out(suggested))
        merged = _taken_back(merged, overlay(merged, layer))
    user = [_qualified(registry, layer) for layer in user]
    # The data set and the loss are decided before anything is merged: afterwards one could not tell any more which
    # layer, and so which plugin, a setting was meant for.
    for section, kind, table in _NAMING:
        _settle(registry, merged, user, section, kind, table)
    for layer in user:
        merged = merge(merged, layer)
    if not merged.get("data", {}).get("name"):
        raise UserError(
            f"{plugin} does not suggest a data set; choose one with --data, 'ganzoo list dataset' shows them"
        )
    for key in ("plugin", "preset"):
        merged.pop(key, None)
    # Only what the user asked for by name must fit; a default metric that does not fit is left out with a note.
    named = {name for layer in user for name, table in layer.get("metric", {}).items() if table is not False}
    return _validate(registry, entry, merged, named)


def _taken_back(below: Layer, merged: Layer) -> dict[str, Any]:
    """Return the layer without what a preset takes back: values that are None in place of one ``below``."""
    kept: dict[str, Any] = {}
    for key, value in merged.items():
        before = below.get(key)
        if isinstance(value, Mapping):
            kept[key] = _taken_back(before if isinstance(before, Mapping) else {}, value)
        elif value is not None or before is None:
            kept[key] = value
    return kept


def _spelled_out(layer: Layer) -> dict[str, Any]:
    """Return the layer with a table in place of a schedule that is given by its name alone."""
    spelled = dict(layer)
    if isinstance(name := layer.get("lr_schedule"), str):
        spelled["lr_schedule"] = {"name": name}
    return spelled


def _check_sections(layer: Layer) -> None:
    """Raise :class:`UserError` where a layer has a value of another type in place of a name or a table."""
    for section, example in _AS.items():
        if not isinstance(layer.get(section, {}), Mapping):
            raise UserError(f"{section!r} is a table of settings, not {layer[section]!r}; write {example}")
    for section in _TABLES:
        for name, settings in layer.get(section, {}).items():
            if not isinstance(settings, Mapping) and settings is not False:
                raise UserError(
                    f"'{section}.{name}' is a table of settings, not {settings!r}; write {section}.{name}.SETTING=VALUE"
                    ", or false in its place to leave it out"
                )
    names = {key: layer.get(key, "") for key in ("plugin", "preset")}
    names |= {f"{section}.name": layer.get(section, {}).get("name", "") for section, _, _ in _NAMING}
    for key, name in names.items():
        if not isinstance(name, str):
            raise UserError(f"{key!r} is a name, not {name!r}")


def _last(key: str, layers: Sequence[Layer]) -> str | None:
    return next((layer[key] for layer in reversed(layers) if key in layer), None)


def _settle(
    registry: Registry, merged: dict[str, Any], user: list[dict[str, Any]], section: str, kind: Kind, table: Kind | None
) -> None:
    """Decide which plugin a section names (the last layer wins), and drop the sections that name another one.

    The entries that a dropped plugin adds (the regularizers of a loss, the metrics of a data set) are dropped with it.
    """
    final = next((layer[section]["name"] for layer in reversed(user) if "name" in layer.get(section, {})), None)
    if final is None:
        return
    for layer in (merged, *user):
        other = layer.get(section, {}).get("name", final)
        if other != final:
            del layer[section]
            # A run's config.toml lists these entries as if the user had chosen them: "--config run --loss other" must
            # not keep the gradient penalty of the run's loss.
            if table is not None and table in layer:
                brought = {registry.get(table, name).name for name in _brought(registry.get(kind, other))}
                layer[table] = {name: settings for name, settings in layer[table].items() if name not in brought}


def _brought(entry: Entry) -> Mapping[str, Any]:
    """Return what a loss or a data set adds by default: regularizers or metrics by name, with their settings."""
    cls = entry.spec.load()
    return dict(cls.regularizers) if entry.spec.kind == "loss" else {name: {} for name in cls.metrics}


def _validate(registry: Registry, entry: Entry, merged: dict[str, Any], named: Collection[str]) -> Config:
    sections: dict[str, dict[str, Any]] = {name: merged.pop(name, {}) for name in _AS if name != "lr_schedule"}
    entries: dict[str, Entry] = {"model": entry}
    for section, kind, _ in _NAMING[:2]:
        if "name" in sections[section]:
            entries[section] = registry.get(kind, sections[section].pop("name"))
        elif sections[section]:
            raise UserError(f"[{section}] needs a name; 'ganzoo list {kind}' shows them")
    tables: dict[Kind, dict[str, Any]] = {kind: sections[kind] for kind in _TABLES}
    tables["tracker"] = {**_default_trackers(registry), **tables["tracker"]}
    if "loss" in entries:
        brought = _qualified(registry, {"regularizer": _brought(entries["loss"])})["regularizer"]
        # A data set may suggest settings for regularizers, but never adds one: only those that the loss adds or the
        # user names are kept. The user's own settings come last.
        suited = _qualified(registry, {"regularizer": entries["data"].spec.load().regularizers})["regularizer"]
        suited = {name: table for name, table in suited.items() if name in brought or name in tables["regularizer"]}
        tables["regularizer"] = merge(merge(brought, suited), tables["regularizer"])
    left_out = frozenset((kind, name) for kind in tables for name, table in tables[kind].items() if table is False)
    if all(table is False for table in tables["metric"].values()):  # metrics that are named stand in for those brought
        brought = _qualified(registry, {"metric": _brought(entries["data"])})["metric"]
        tables["metric"] = {**brought, **tables["metric"]}
    rows = {
        kind: [(registry.get(kind, name), table) for name, table in tables[kind].items() if table is not False]
        for kind in tables
    }

    # All names that a setting could have meant, for "did you mean": also those of other sections.
    settable = [*entries.items(), *((f"{k}.{each.spec.key}", each) for k, found in rows.items() for each, _ in found)]
    known = [*TrainSettings.model_fields, "plugin", "preset", *(name for name in _AS if name not in entries)]
    known += [name for section, each in settable for name in dotted(each.spec.load().Config, section)]
    known += [f"{section}.name" for section in entries if section != "model"]
    known += _of_the_named(registry, entry.spec.load().Config, "model.", sections["model"])
    known += _of_the_named(registry, TrainSettings, "", merged)

    def chosen(each: Entry, section: str, settings: Layer) -> Choice:
        # A model's spec defaults are a layer of the whole config; those of any other kind are settings of its own.
        defaults = {} if each.spec.kind == "model" else each.spec.defaults
        return Choice(each, validate(each.spec.load().Config, section, {**defaults, **settings}, known, registry.get))

    choices = {section: chosen(each, section, sections[section]) for section, each in entries.items()}
    further = {
        kind: {each.spec.key: chosen(each, f"{kind}.{each.spec.key}", table) for each, table in found}
        for kind, found in rows.items()
    }
    return Config(
        model=choices["model"],
        data=choices["data"],
        loss=choices.get("loss"),
        regularizers=further["regularizer"],
        metrics=further["metric"],
        trackers=further["tracker"],
        train=validate(TrainSettings, "", merged, known, registry.get),
        left_out=left_out,
        brought=frozenset(each.spec.key for each, _ in rows["metric"] if each.name not in named),
    )


def _qualified(registry: Registry, layer: Layer) -> dict[str, Any]:
    """Return the layer with every plugin's full name, so that short and full names of one plugin are merged."""
    qualified: dict[str, Any] = dict(layer)
    for section, kind, _ in _NAMING:
        if "name" in layer.get(section, {}):
            qualified[section] = {**layer[section], "name": registry.get(kind, layer[section]["name"]).name}
    for kind in _TABLES:
        if kind in layer:
            qualified[kind] = {registry.get(kind, name).name: settings for name, settings in layer[kind].items()}
    return qualified


def _default_trackers(registry: Registry) -> dict[str, Any]:
    """Return the trackers that follow every training, by name; one that cannot be loaded is not among them."""
    found: dict[str, Any] = {}
    for entry in registry.specs("tracker"):
        with suppress(UserError):
            if entry.spec.load().default:
                found[entry.name] = {}
    return found


def _of_the_named(registry: Registry, config: type[BaseModel], prefix: str, values: Layer) -> Iterator[str]:
    """Yield the settings of the plugins that are chosen by name among these settings."""
    for name, field in config.model_fields.items():
        default, table = field.get_default(call_default_factory=True), values.get(name)
        if isinstance(default, Named):
            yield from (f"{prefix}{name}.{each}" for each in type(default).model_fields)
            if isinstance(table, Mapping) and isinstance(table.get("name"), str):
                with suppress(UserError):
                    yield from dotted(registry.get(default.kind, table["name"]).spec.load().Config, f"{prefix}{name}")


def overlay(low: Layer, high: Layer) -> dict[str, Any]:
    """Merge two layers; where ``high`` names another data set or loss, drop ``low``'s settings of that section."""
    kept, high = _spelled_out(low), _spelled_out(high)
    for section, _, _ in _NAMING:
        name = high.get(section, {}).get("name")
        if name is not None and name != kept.get(section, {}).get("name", name):
            del kept[section]
    return merge(kept, high)
