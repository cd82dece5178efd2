"""From defaults, presets, files and flags to one resolved config, and from a config to the objects it names.

Layers, each laid over the one before: the core's defaults, the model's, its spec's, the preset, the config file,
``--set``, flags. What the layers settle first is which model, data set and loss there are: a section that names another
one than that is left out whole, since its settings were meant for the other. Settings that come without a name are
for the one that is chosen, so that ``--data folder --set data.path=photos`` works in either order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ganzoo.errors import GanzooError, UserError, did_you_mean, is_out_of_memory
from ganzoo.files import read_toml
from ganzoo.hooks import SAID, Kind
from ganzoo.layers import merge, parse_set
from ganzoo.registry import Entry, Registry, UnknownNameError
from ganzoo.settings import dotted, validate

if TYPE_CHECKING:
    from ganzoo.data import Dataset, DataSpec
    from ganzoo.metrics import Metric
    from ganzoo.trainer import Trainer

__all__ = ["Choice", "Config", "TrainSettings", "load_config", "overlay", "recorded"]

Layer = Mapping[str, Any]
Model = TypeVar("Model", bound=BaseModel)
_UNREAD = ("environment", "data_spec")  # tables of a run's config.toml that record and do not configure
_DATA = "mnist5k"  # the data set of models that suggest none
_NAMING: tuple[tuple[str, Kind, Kind], ...] = (("data", "dataset", "metric"), ("loss", "loss", "regularizer"))
"""Sections that name a plugin, and the table that takes entries from the plugin named."""

_AS = {
    "model": "model.SETTING=VALUE",
    "data": "data.name=NAME",
    "loss": "loss.name=NAME",
    "regularizer": "regularizer.NAME.SETTING=VALUE",
    "metric": "metric.NAME.SETTING=VALUE",
}
"""The sections, and how one sets something in them."""


class TrainSettings(BaseModel):
    """The settings of every training, whatever the GAN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(10_000, ge=1, le=10**15, description="generator steps")
    batch_size: int = Field(64, ge=1, le=2**24, description="samples a phase sees at once")
    seed: int = Field(0, ge=0, lt=2**63, description="decides weights, latents and the order of the data")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps ...")
    threads: int | None = Field(None, ge=1, le=4096, description="CPU threads; left out: torch's choice")
    workers: int = Field(2, ge=0, le=1024, description="processes that read a data set too large for memory")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: mixed precision")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged into one optimizer step")
    clip_grad: float | None = Field(None, gt=0, description="largest norm of a phase's gradient")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights that samples are drawn with")
    lr_schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="how the learning rate falls to 0 over the run"
    )
    lr_warmup: int = Field(0, ge=0, description="steps in which the learning rate rises to its full value")
    log_every: int = Field(50, ge=1, description="steps between lines of metrics.jsonl")
    sample_every: int = Field(500, ge=1, description="steps between sample sheets and metrics")
    checkpoint_every: int = Field(500, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="how many checkpoints are kept")


@dataclass(frozen=True)
class Choice:
    """A plugin by its registry entry, and its settings."""

    entry: Entry
    settings: BaseModel

    @property
    def key(self) -> str:
        """The short key."""
        return self.entry.spec.key

    def build(self, *args: Any) -> Any:
        """Make the object: its class takes the settings first.

        Raises :class:`UserError` for whatever it fails with, such as torch's errors for sizes that overflow, but for
        what the system or its memory lack.
        """
        try:
            return self.entry.spec.load()(self.settings, *args)
        except (GanzooError, OSError, MemoryError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            lines = str(error).strip().splitlines() or [""]
            said = f"{type(error).__name__}: {lines[0][:300]}"
            raise UserError(
                f"the {self.entry.spec.kind} {self.key!r} cannot be made with its settings: {said}"
            ) from error


@dataclass(frozen=True)
class Config:
    """All that a training run is made of, resolved and validated.

    ``left_out`` are the regularisers and metrics, by section and full name, that the user has switched off or that do
    not fit, ``brought`` the keys of the metrics that came along unasked: with the data set, or with the model.
    """

    model: Choice
    data: Choice
    loss: Choice | None
    regularizers: Mapping[str, Choice]
    metrics: Mapping[str, Choice]
    train: TrainSettings
    left_out: frozenset[tuple[str, str]] = frozenset()
    brought: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def name(self) -> str:
        """``model-data``, as run folders are called."""
        return f"{self.model.key}-{self.data.key}"

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain data that TOML can hold; :func:`load_config` reads it back as a layer."""
        sections: dict[str, Any] = {"plugin": self.model.entry.name, **_plain(self.train)}
        sections["model"] = _plain(self.model.settings)
        sections["data"] = {"name": self.data.entry.name, **_plain(self.data.settings)}
        if self.loss is not None:
            sections["loss"] = {"name": self.loss.entry.name, **_plain(self.loss.settings)}
        for section, choices in (("regularizer", self.regularizers), ("metric", self.metrics)):
            sections[section] = {choice.entry.name: _plain(choice.settings) for choice in choices.values()}
            sections[section] |= {name: False for of, name in sorted(self.left_out) if of == section}
        return sections

    def build_dataset(self) -> Dataset:
        """Make the data set; raises :class:`UserError` if its files are missing or broken."""
        dataset: Dataset = self.data.build()
        return dataset

    def build_trainer(self, data: DataSpec) -> Trainer:
        """Make the GAN for such data, on the CPU; weights come from torch's global random state."""
        loss = self.loss.build() if self.loss is not None else None
        chosen = {key: choice for key, choice in self.regularizers.items() if getattr(choice.settings, "weight", 1)}
        regularizers = {key: choice.build() for key, choice in chosen.items()}
        trainer: Trainer = self.model.build(data, loss, regularizers)
        return trainer

    def build_metrics(self, dataset: Dataset) -> dict[str, Metric]:
        """Make the metrics for the data set."""
        return {key: choice.build(dataset) for key, choice in self.metrics.items()}

    def without_metrics(self, keys: Collection[str]) -> Config:
        """Return the config with these metrics left out, as if the user had said so."""
        kept = {key: choice for key, choice in self.metrics.items() if key not in keys}
        gone = {("metric", choice.entry.name) for key, choice in self.metrics.items() if key in keys}
        return replace(self, metrics=kept, left_out=self.left_out | gone)


def load_config(
    registry: Registry,
    plugin: str | None = None,
    *,
    preset: str | None = None,
    file: Path | None = None,
    sets: Sequence[str] = (),
    flags: Layer | None = None,
) -> Config:
    """Resolve a config from its layers.

    ``sets`` are ``"a.b=value"`` assignments, ``flags`` a layer of its own on top. Raises :class:`UserError`, in one
    sentence, for anything unknown (with the closest match), misspelt or out of range.
    """
    from_file = read_toml(file) if file is not None else {}
    try:
        return _resolve(registry, plugin, preset, from_file, sets, flags)
    except UnknownNameError as error:
        raise UserError(recorded(registry, error, from_file)) from None


def recorded(registry: Registry, error: UserError, document: Mapping[str, Any]) -> str:
    """Return what an error says; if a name is unknown that a run's config.toml has, which distribution is missing.

    That is the one that the run recorded, if it is not installed, or is another version by now.
    """
    if not isinstance(error, UnknownNameError):
        return str(error)
    distribution, _, key = error.name.rpartition("/")
    environment = document.get("environment")
    plugins = environment.get("plugins") if isinstance(environment, Mapping) else None
    version = plugins.get(distribution) if isinstance(plugins, Mapping) else None
    # They go into a command that people type: nothing but what pip takes for a name and a version.
    if not (isinstance(version, str) and re.fullmatch(r"\w[\w.-]*@\w[\w.+!-]*", f"{distribution}@{version}", re.ASCII)):
        return str(error)
    here = [plugin for plugin in registry.plugins if plugin.distribution == distribution]
    if any(plugin.trouble or plugin.version == version for plugin in here):
        return str(error)  # what the trouble is, or what is meant
    is_missing = f"which {here[0].version} does not have" if here else "which is not installed"
    return (
        f"this run was trained with the {SAID[error.kind]} {key!r} of {distribution} {version}, {is_missing}; "
        f"pip install {distribution}=={version}"
    )


def _resolve(
    registry: Registry,
    plugin: str | None,
    preset: str | None,
    from_file: Layer,
    sets: Sequence[str],
    flags: Layer | None,
) -> Config:
    user: list[dict[str, Any]] = [{key: value for key, value in from_file.items() if key not in _UNREAD}]
    user += [parse_set(text) for text in sets]
    user.append(dict(flags or {}))
    for layer in user:
        _check_sections(layer)
    plugin = plugin or _last("plugin", user)
    if plugin is None:
        raise UserError("name a model with --plugin, or a config file that does; 'ganzoo list model' shows them")
    entry = registry.get("model", plugin)
    for layer in user:
        if "plugin" in layer and registry.get("model", layer["plugin"]) != entry:
            layer.pop("model", None)
            layer.pop("preset", None)
    preset = preset or _last("preset", user)
    trainer: type[Trainer] = entry.spec.load()
    layers: list[Layer] = [trainer.defaults, entry.spec.defaults]
    if preset is not None:
        if preset not in trainer.presets:
            raise UserError(f"{plugin} has no preset {preset!r}{did_you_mean(preset, trainer.presets)}")
        layers.append(trainer.presets[preset])
    merged: dict[str, Any] = {}
    for suggested in layers:
        merged = overlay(merged, _qualified(registry, suggested))
    if not merged.get("data"):
        merged["data"] = {"name": registry.get("dataset", _DATA).name}
    user = [_qualified(registry, layer) for layer in user]
    for section, kind, table in _NAMING:
        _settle(registry, merged, user, section, kind, table)
    for layer in user:
        merged = merge(merged, layer)
    for key in ("plugin", "preset"):
        merged.pop(key, None)
    named = {name for layer in user for name, table in layer.get("metric", {}).items() if table is not False}
    return _validate(registry, entry, merged, named)


def _check_sections(layer: Layer) -> None:
    """Raise :class:`UserError` where a layer has something else in place of a name or a table."""
    for section, example in _AS.items():
        if not isinstance(layer.get(section, {}), Mapping):
            raise UserError(f"{section!r} is a table of settings, not {layer[section]!r}; write {example}")
    for section in ("regularizer", "metric"):
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
    registry: Registry, merged: dict[str, Any], user: list[dict[str, Any]], section: str, kind: Kind, table: Kind
) -> None:
    """Leave in the layers only those sections that name the plugin that the last of them names, or none.

    What another plugin brought along (the regularisers of a loss, the metrics of a data set) goes with it.
    """
    final = next((layer[section]["name"] for layer in reversed(user) if "name" in layer.get(section, {})), None)
    if final is None:
        return
    if merged.get(section, {}).get("name") != final:
        merged[section] = {"name": final}
    for layer in user:
        other = layer.get(section, {}).get("name", final)
        if other != final:
            del layer[section]
            brought = {registry.get(table, name).name for name in _brought(registry.get(kind, other))}
            if table in layer:
                layer[table] = {name: settings for name, settings in layer[table].items() if name not in brought}


def _brought(entry: Entry) -> Mapping[str, Any]:
    """Return what a loss or a data set brings along: regularisers or metrics by name, with their settings."""
    cls = entry.spec.load()
    return dict(cls.regularizers) if entry.spec.kind == "loss" else {name: {} for name in cls.metrics}


def _validate(registry: Registry, entry: Entry, merged: dict[str, Any], named: Collection[str]) -> Config:
    sections: dict[str, dict[str, Any]] = {name: merged.pop(name, {}) for name in _AS}
    entries: dict[str, Entry] = {"model": entry}
    for section, kind, _ in _NAMING:
        if "name" in sections[section]:
            entries[section] = registry.get(kind, sections[section].pop("name"))
        elif sections[section]:
            raise UserError(f"[{section}] needs a name; 'ganzoo list {kind}' shows them")
    tables: dict[Kind, dict[str, Any]] = {"regularizer": sections["regularizer"], "metric": sections["metric"]}
    if "loss" in entries:
        brought = _qualified(registry, {"regularizer": _brought(entries["loss"])})["regularizer"]
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

    settable = [*entries.items(), *((f"{k}.{each.spec.key}", each) for k, found in rows.items() for each, _ in found)]
    known = [*TrainSettings.model_fields, "plugin", "preset", *(name for name in _AS if name not in entries)]
    known += [name for section, each in settable for name in dotted(each.spec.load().Config, section)]
    known += [f"{section}.name" for section in entries if section != "model"]

    def chosen(each: Entry, section: str, settings: Layer) -> Choice:
        # A model's spec defaults are a layer of the whole config; those of any other kind are settings of its own.
        defaults = {} if each.spec.kind == "model" else each.spec.defaults
        return Choice(each, validate(each.spec.load().Config, section, {**defaults, **settings}, known))

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
        train=validate(TrainSettings, "", merged, known),
        left_out=left_out,
        brought=frozenset(each.spec.key for each, _ in rows["metric"] if each.name not in named),
    )


def _qualified(registry: Registry, layer: Layer) -> dict[str, Any]:
    """Write every plugin's name in a layer in full, so that layers that name it in either way meet."""
    qualified: dict[str, Any] = dict(layer)
    for section, kind, table in _NAMING:
        if "name" in layer.get(section, {}):
            qualified[section] = {**layer[section], "name": registry.get(kind, layer[section]["name"]).name}
        if table in layer:
            qualified[table] = {registry.get(table, name).name: settings for name, settings in layer[table].items()}
    return qualified


def overlay(low: Layer, high: Layer) -> dict[str, Any]:
    """Merge, but where ``high`` names another data set or loss, nothing of ``low``'s settings for it is left."""
    kept = dict(low)
    for section, _, _ in _NAMING:
        name = high.get(section, {}).get("name")
        if name is not None and name != kept.get(section, {}).get("name", name):
            del kept[section]
    return merge(kept, high)


def _plain(settings: BaseModel) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_none=True)
