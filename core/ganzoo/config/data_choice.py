"""Which data is meant: by the name of a data set, as a folder of images, or as an object that was given in Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ganzoo.config.config import Choice
from ganzoo.config.validation import paths
from ganzoo.data.dataset import Dataset, DatasetConfig
from ganzoo.data.objects import GIVEN, Data, as_dataset
from ganzoo.errors import UserError
from ganzoo.plugin.registry import BUNDLED, Entry, Registry, UnknownNameError
from ganzoo.plugin.spec import Kind, Spec

__all__ = ["FOLDER", "GIVEN_NAME", "DataName", "choose_data", "recorded_data"]

DataName = str | PathLike[str] | Data
"""The name of a data set, a folder of images, or the data itself."""

FOLDER = "folder"
"""The key of the data set that reads a folder of images, whose path is its setting ``path``."""

GIVEN_NAME = f"{BUNDLED}/{GIVEN}"
"""What a config calls data that was given as an object."""


def choose_data(registry: Registry, data: DataName | None) -> tuple[Registry, dict[str, Any]]:
    """Return a registry that offers the data, and what ``[data]`` says of it: nothing if no data is given.

    A text is the name of a data set, or else a folder; a path is a folder. Raises :class:`~ganzoo.UserError` if it is
    neither, and for an object that is no data.
    """
    if data is None:
        return registry, {}
    if isinstance(data, str):
        if not data:  # as a path it would be the current folder
            raise UserError("the data has an empty name; 'ganzoo list dataset' shows those that there are")
        try:
            return registry, {"name": registry.get("dataset", data).name}
        except UnknownNameError as error:
            # What can only be a path is left to the data set, which says that there is no such folder.
            if not (data.startswith((".", "~", os.sep)) or Path(data).is_dir()):
                is_file = " but a file" if Path(data).is_file() else ""
                said = str(error).replace(repr(data), f"{data!r}, and no folder of that name{is_file}", 1)
                raise UnknownNameError(said, error.kind, error.name) from None
    if isinstance(data, str | PathLike):
        return registry, {"name": registry.get("dataset", FOLDER).name, "path": os.fspath(data)}
    return _WithData(registry, as_dataset(data)), {"name": GIVEN_NAME}


def recorded_data(choice: Choice) -> Dataset:
    """Make the data set that a run has recorded; the :class:`~ganzoo.UserError` says what to set if it has moved."""
    try:
        dataset: Dataset = choice.build()
    except UserError as error:
        moved = [f"--set {setting}=PATH" for setting in paths(choice.settings, "data")]
        raise UserError(f"{error}; if the data has moved, say where: {' '.join(moved)}" if moved else error) from None
    return dataset


@dataclass(frozen=True)
class _Given:
    """Stands where the class of a data set does: made with settings, it is the data set that was given."""

    dataset: Dataset
    metrics: tuple[str, ...]
    regularizers: Mapping[str, Mapping[str, Any]]
    Config: type[DatasetConfig] = DatasetConfig

    def __call__(self, settings: DatasetConfig) -> Dataset:
        return self.dataset


@dataclass(frozen=True)
class _GivenSpec(Spec):
    made: _Given | None = None

    def load(self) -> Any:
        return self.made


class _WithData(Registry):
    """A registry that also offers data that was given as an object."""

    def __init__(self, registry: Registry, dataset: Dataset) -> None:
        vars(self).update(vars(registry))
        made = _Given(dataset, dataset.metrics, dataset.regularizers)
        spec = _GivenSpec("dataset", GIVEN, "Data given as an object.", f"{__name__}:_Given", made=made)
        version = next((each.version for each in registry.plugins if each.distribution == BUNDLED), "?")
        self._given = Entry(spec, BUNDLED, version)

    def get(self, kind: Kind, name: str) -> Entry:
        return self._given if (kind, name) == ("dataset", GIVEN_NAME) else super().get(kind, name)
