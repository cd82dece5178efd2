"""A resolved config: the plugins and settings of a training run, and how their objects are built."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from ganzoo.configured import entries_of, making
from ganzoo.plugin.registry import Entry
from ganzoo.plugin.spec import SAID

if TYPE_CHECKING:
    from ganzoo.data.dataset import Dataset, DataSpec
    from ganzoo.gan.losses import RegularizerConfig
    from ganzoo.gan.metrics import Metric
    from ganzoo.gan.tracker import Tracker
    from ganzoo.gan.trainer import Trainer
from ganzoo.config.train_settings import Source, TrainSettings

__all__ = ["Choice", "Config"]


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

        Raises :class:`UserError` for any failure, such as torch's errors for sizes that overflow. Errors of the system
        (files, memory) are raised as they are.
        """
        with making(f"the {SAID[self.entry.spec.kind]} {self.key!r}"):
            return self.entry.spec.load()(self.settings, *args)


@dataclass(frozen=True)
class Config:
    """The plugins and settings of a training run, resolved and validated.

    ``left_out`` are the regularizers, metrics and trackers, by section and full name, that the user has switched off or
    that do not fit. ``brought`` are the keys of metrics that the user has not named: the data set or the model adds
    them.
    """

    model: Choice
    data: Choice
    loss: Choice | None
    regularizers: Mapping[str, Choice]
    metrics: Mapping[str, Choice]
    trackers: Mapping[str, Choice]
    train: TrainSettings
    left_out: frozenset[tuple[str, str]] = frozenset()
    brought: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def name(self) -> str:
        """``model-data``, as run folders are called."""
        return f"{self.model.key}-{self.data.key}"

    @property
    def _samples_per_step(self) -> int:
        return self.train.batch_size * self.train.accumulate

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain data that TOML can hold; :func:`load_config` reads it back as a layer."""
        sections: dict[str, Any] = {"plugin": self.model.entry.name, **_plain(self.train)}
        sections["model"] = _plain(self.model.settings)
        sections["data"] = {"name": self.data.entry.name, **_plain(self.data.settings)}
        if self.loss is not None:
            sections["loss"] = {"name": self.loss.entry.name, **_plain(self.loss.settings)}
        tables = {"regularizer": self.regularizers, "metric": self.metrics, "tracker": self.trackers}
        for section, choices in tables.items():
            sections[section] = {choice.entry.name: _plain(choice.settings) for choice in choices.values()}
            sections[section] |= {name: False for of, name in sorted(self.left_out) if of == section}
        return sections

    def entries(self) -> Iterator[Entry]:
        """Yield the registry's entries of all plugins that the training uses."""
        single = [self.model, self.data, *([self.loss] if self.loss else [])]
        for choice in (*single, *self.regularizers.values(), *self.metrics.values(), *self.trackers.values()):
            yield choice.entry
            yield from entries_of(choice.settings)
        yield from entries_of(self.train)

    def build_dataset(self) -> Dataset:
        """Make the data set; raises :class:`UserError` if its files are missing or broken."""
        dataset: Dataset = self.data.build()
        return dataset

    def suited(self, data: DataSpec) -> Config:
        """Return the config with the settings of regularizers that the model derives from the data, unless given."""
        derived = self.model.entry.spec.load().regularizer_settings(data, self._samples_per_step)
        regularizers = {}
        for key, choice in self.regularizers.items():
            free = {
                name: value
                for name, value in derived.get(key, {}).items()
                if name not in choice.settings.model_fields_set
            }
            regularizers[key] = replace(choice, settings=choice.settings.model_copy(update=free))
        return replace(self, regularizers=regularizers)

    def build_trainer(self, data: DataSpec) -> Trainer:
        """Make the GAN for such data, on the CPU; weights come from torch's global random state."""
        self.model.entry.spec.load().check_samples(data.sample, self.model.key)
        self = self.suited(data)
        loss = self.loss.build() if self.loss is not None else None
        weights = {key: cast("RegularizerConfig", choice.settings).weight for key, choice in self.regularizers.items()}
        regularizers = {key: choice.build() for key, choice in self.regularizers.items() if weights[key]}
        trainer: Trainer = self.model.build(data, loss, regularizers)
        trainer.samples_per_step = self._samples_per_step
        return trainer

    def build_metrics(self, dataset: Dataset) -> dict[str, Metric]:
        """Make the metrics for the data set."""
        return {key: choice.build(dataset) for key, choice in self.metrics.items()}

    def build_trackers(self) -> dict[str, Tracker]:
        """Make the trackers; raises :class:`UserError` if one needs what is not installed."""
        return {key: choice.build() for key, choice in self.trackers.items()}

    def without_metrics(self, keys: Collection[str]) -> Config:
        """Return the config with these metrics left out, as if the user had said so."""
        kept = {key: choice for key, choice in self.metrics.items() if key not in keys}
        gone = {("metric", choice.entry.name) for key, choice in self.metrics.items() if key in keys}
        return replace(self, metrics=kept, left_out=self.left_out | gone)

    def with_source(self, source: Source) -> Config:
        """Return the config with this in place of what the weights start from."""
        return replace(self, train=self.train.model_copy(update={"source": source}))

    def with_precision(self, precision: str) -> Config:
        """Return the config with this in place of the setting ``precision``."""
        return replace(self, train=self.train.model_copy(update={"precision": precision}))


def _plain(settings: BaseModel) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_none=True, serialize_as_any=True)
