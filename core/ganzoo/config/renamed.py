"""Old names of settings, values and metrics that were renamed before 0.1.0, so that older run folders still load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["current", "current_figure"]

_METRICS = {"memorisation": "memorization", "images_per_second": "samples_per_second"}
_SETTINGS = {("model", "told"): "conditional", ("metric", "neighbours"): "neighbors"}
_VALUES = {("data", "style", "coloured"): "colored"}


def current(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config, or any part of one, with old names replaced by the current ones."""
    renamed = {section: _current(section, table) for section, table in document.items()}
    if isinstance(metrics := renamed.get("metric"), dict):
        renamed["metric"] = {_metric(name): _current("metric", settings) for name, settings in metrics.items()}
    return renamed


def current_figure(name: str) -> str:
    """Return the name of a figure, as metrics.jsonl has it, by today's name of its metric."""
    metric, slash, figure = name.partition("/")
    return f"{_METRICS.get(metric, metric)}{slash}{figure}"


def _current(section: str, table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    renamed = {}
    for name, value in table.items():
        value = _VALUES.get((section, name, value), value) if isinstance(value, str) else value
        renamed[_SETTINGS.get((section, name), name)] = value
    return renamed


def _metric(name: str) -> str:
    distribution, slash, key = name.rpartition("/")
    return f"{distribution}{slash}{_METRICS.get(key, key)}"
