"""From defaults, presets, files and flags to one resolved config, and from a config to the objects it names.

Layers, each laid over the one before: the core's defaults, the model's, its spec's, the preset, the config file,
``--set``, flags. Sections that name a plugin (``[data]``, ``[loss]``) lose the lower layers' settings when the name
changes, since those were meant for another.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ganzoo.errors import UserError, did_you_mean
from ganzoo.hooks import Kind
from ganzoo.registry import Entry, Registry

if TYPE_CHECKING:
    from ganzoo.data import Dataset, DataSpec
    from ganzoo.metrics import Metric
    from ganzoo.trainer import Trainer

__all__ = ["Choice", "Config", "TrainSettings", "load_config", "parse_set"]

Layer = Mapping[str, Any]
Model = TypeVar("Model", bound=BaseModel)
_UNREAD = ("environment", "data_spec")  # tables of a run's config.toml that record and do not configure


class TrainSettings(BaseModel):
    """The settings of every training, whatever the GAN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(10_000, ge=1, description="generator steps")
    batch_size: int = Field(64, ge=1, description="samples a phase sees at once")
    seed: int = Field(0, ge=0, lt=2**63, description="decides weights, latents and the order of the data")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps ...")
    threads: int | None = Field(None, ge=1, description="CPU threads; left out: torch's choice")
    workers: int = Field(2, ge=0, description="processes that read a data set too large for memory")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: mixed precision")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged into one optimizer step")
    clip_grad: float | None = Field(None, gt=0, description="largest norm of a phase's gradient")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights that samples are drawn with")
    lr_schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="how the learning rate falls to 0 over the run"
    )
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
        """Make the object: its class takes the settings first."""
        return self.entry.spec.load()(self.settings, *args)


@dataclass(frozen=True)
class Config:
    """All that a training run is made of, resolved and validated."""

    model: Choice
    data: Choice
    loss: Choice | None
    regularizers: Mapping[str, Choice]
    metrics: Mapping[str, Choice]
    train: TrainSettings

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
        return sections

    def build_dataset(self) -> Dataset:
        """Make the data set; raises :class:`UserError` if its files are missing or broken."""
        dataset: Dataset = self.data.build()
        return dataset

    def build_trainer(self, data: DataSpec) -> Trainer:
        """Make the GAN for such data, on the CPU; weights come from torch's global random state."""
        loss = self.loss.build() if self.loss is not None else None
        regularizers = {key: choice.build() for key, choice in self.regularizers.items()}
        trainer: Trainer = self.model.build(data, loss, regularizers)
        return trainer

    def build_metrics(self, dataset: Dataset) -> dict[str, Metric]:
        """Make the metrics for the data set."""
        return {key: choice.build(dataset) for key, choice in self.metrics.items()}


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
    user = [{key: value for key, value in from_file.items() if key not in _UNREAD}]
    user += [parse_set(text) for text in sets]
    user.append(dict(flags or {}))
    plugin = plugin or next((layer["plugin"] for layer in reversed(user) if "plugin" in layer), None)
    preset = preset or next((layer["preset"] for layer in reversed(user) if "preset" in layer), None)
    if plugin is None:
        raise UserError("name a model with --plugin, or a config file that does; 'ganzoo list model' shows them")
    entry = registry.get("model", plugin)
    trainer: type[Trainer] = entry.spec.load()
    layers: list[Layer] = [trainer.defaults, entry.spec.defaults]
    if preset is not None:
        if preset not in trainer.presets:
            raise UserError(f"{plugin} has no preset {preset!r}{did_you_mean(preset, trainer.presets)}")
        layers.append(trainer.presets[preset])
    merged: dict[str, Any] = {}
    for layer in (*layers, *user):
        merged = _merge(merged, _qualified(registry, layer))
    for key in ("plugin", "preset"):
        merged.pop(key, None)
    return _validate(registry, entry, merged)


def _validate(registry: Registry, entry: Entry, merged: dict[str, Any]) -> Config:
    sections = {name: merged.pop(name, {}) for name in ("model", "data", "loss", "regularizer", "metric")}
    for name, section in sections.items():
        if not isinstance(section, Mapping):
            raise UserError(f"{name!r} is a table of settings, not {section!r}; write {name}.name={section}")
    data = _named(registry, "dataset", "data", sections["data"] or {"name": "mnist5k"})
    loss = _named(registry, "loss", "loss", sections["loss"]) if sections["loss"] else None
    regularizers = dict(loss.entry.spec.load().regularizers) if loss is not None else {}
    regularizers = _merge(_qualified(registry, {"regularizer": regularizers})["regularizer"], sections["regularizer"])
    metrics = sections["metric"] or {key: {} for key in data.entry.spec.load().metrics}
    known = [*TrainSettings.model_fields, "plugin", "preset", *sections]
    return Config(
        model=Choice(entry, _settings(entry, "model", sections["model"])),
        data=data,
        loss=loss,
        regularizers=_table(registry, "regularizer", regularizers),
        metrics=_table(registry, "metric", metrics),
        train=validate(TrainSettings, "", merged, known),
    )


def _qualified(registry: Registry, layer: Layer) -> dict[str, Any]:
    """Write every plugin's name in a layer in full, so that layers that name it in either way meet."""
    qualified: dict[str, Any] = dict(layer)
    kinds: tuple[tuple[str, Kind], ...] = (("data", "dataset"), ("loss", "loss"))
    for section, kind in kinds:
        table = layer.get(section)
        if isinstance(table, Mapping) and "name" in table:
            qualified[section] = {**table, "name": registry.get(kind, str(table["name"])).name}
    tables: tuple[Kind, ...] = ("regularizer", "metric")
    for kind in tables:
        table = layer.get(kind)
        if isinstance(table, Mapping):
            qualified[kind] = {registry.get(kind, name).name: settings for name, settings in table.items()}
    return qualified


def _named(registry: Registry, kind: Kind, section: str, settings: Layer) -> Choice:
    if "name" not in settings:
        raise UserError(f"[{section}] needs a name; 'ganzoo list {kind}' shows them")
    entry = registry.get(kind, str(settings["name"]))
    rest = {key: value for key, value in settings.items() if key != "name"}
    return Choice(entry, _settings(entry, section, rest))


def _table(registry: Registry, kind: Kind, table: Layer) -> dict[str, Choice]:
    choices = {}
    for name, settings in table.items():
        if not isinstance(settings, Mapping):
            raise UserError(f"'{kind}.{name}' is a table of settings, not {settings!r}")
        entry = registry.get(kind, name)
        choices[entry.spec.key] = Choice(entry, _settings(entry, f"{kind}.{name}", settings))
    return choices


def _settings(entry: Entry, section: str, settings: Layer) -> BaseModel:
    cls = entry.spec.load()
    # A model's spec defaults are a layer of the whole config; those of any other kind are settings of its own.
    defaults = {} if entry.spec.kind == "model" else entry.spec.defaults
    return validate(cls.Config, section, {**defaults, **settings})


def validate(model: type[Model], section: str, values: Layer, known: Iterable[str] | None = None) -> Model:
    """Validate one section; raises :class:`UserError` naming the setting in full, with the closest match."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (section, *first["loc"]) if part != "")
        if first["type"] == "extra_forbidden":
            name = where.rpartition(".")[2]
            names = known if known is not None else _fields_at(model, first["loc"][:-1])
            close = did_you_mean(name, names)
            raise UserError(f"unknown setting {where!r}{close}") from None
        if first["type"] == "missing":
            raise UserError(f"the setting {where!r} is required; give it with --set {where}=...") from None
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"setting {where!r}: {message[0].lower()}{message[1:]}, not {first['input']!r}") from None


def _fields_at(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    for part in path:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _merge(low: Layer, high: Layer) -> dict[str, Any]:
    """Lay ``high`` over ``low``, table by table."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            if "name" in value and value["name"] != below.get("name", value["name"]):
                below = {}
            merged[key] = _merge(below, value)
        else:
            merged[key] = dict(value) if isinstance(value, Mapping) else value
    return merged


def parse_set(text: str) -> dict[str, Any]:
    """Turn ``"a.b=value"`` into ``{"a": {"b": value}}``; the value is TOML, or a string if it is not TOML."""
    path, equals, value = text.partition("=")
    keys = [part.strip() for part in path.split(".")]
    if not equals or not all(keys):
        raise UserError(f"--set takes section.setting=value, not {text!r}")
    try:
        parsed: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for key in reversed(keys):
        parsed = {key: parsed}
    assert isinstance(parsed, dict)
    return parsed


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; raises :class:`UserError` if it is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None


def _plain(settings: BaseModel) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_none=True)
