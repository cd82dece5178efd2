"""Descriptions of what a plugin offers, as plain data: summary, settings and defaults."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any, Literal, get_args, get_origin

from ganzoo.plugin.registry import Entry

__all__ = ["describe"]

_PLAIN = ("format", "sink", "pretrained", "importer", "command")  # kinds without settings


def describe(entry: Entry, *, settings: bool = False) -> dict[str, Any]:
    """Return what an entry of the registry is; with ``settings`` also what can be set, which imports it.

    ``"settings"`` has a row for each setting by its dotted name: its default, whether it is required, its choices and
    its description. ``"defaults"`` and ``"presets"`` are what a model suggests for the whole training, and
    ``"training"`` are the settings of every training, as those above. Raises
    :class:`~ganzoo.UserError` if it cannot be imported.
    """
    spec = entry.spec
    document: dict[str, Any] = {"kind": spec.kind, "key": spec.key, "name": entry.name, "version": entry.version}
    document |= {"summary": spec.summary, "paper": spec.paper}
    if not settings or spec.kind in _PLAIN:
        return document
    from ganzoo.config.merging import flat
    from ganzoo.config.resolving import overlay
    from ganzoo.configured import Named

    if spec.kind == "field":
        document["brings"] = {"arguments": str(signature(spec.load())).partition(" ->")[0]}
        return document
    cls, defaults, own = spec.load(), {}, dict(spec.defaults)
    if spec.kind == "model":
        defaults = overlay(cls.defaults, spec.defaults)
        own = defaults.pop("model", {})
    elif issubclass(cls.Config, Named):
        own["name"] = entry.spec.key
    elif spec.kind == "loss":
        document["brings"] = {"discriminator steps a generator step": cls.critic_steps}
        if cls.regularizers:
            document["brings"]["regularizers"] = ", ".join(cls.regularizers)
    elif spec.kind == "dataset" and cls.metrics:
        document["brings"] = {"metrics": ", ".join(cls.metrics)}
    elif spec.kind == "metric":
        document["better"] = dict(cls.better)
    document["settings"] = {
        name: row | ({"default": flat(own)[name], "required": False} if name in flat(own) else {})
        for name, row in _settings(cls.Config)
    }
    document["defaults"] = defaults
    document["presets"] = dict(cls.presets) if spec.kind == "model" else {}
    if spec.kind == "model":
        from ganzoo.config.train_settings import TrainSettings

        document["training"] = dict(_settings(TrainSettings))
    return document


def _settings(config: Any, prefix: str = "", values: Any = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the settings by name, nested ones with the defaults that this class gives them."""
    from pydantic import BaseModel

    from ganzoo.configured import Named

    for name, field in config.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if values is not None:
            default = getattr(values, name)
        if isinstance(default, Named) and type(default).model_fields.keys() == {"name"}:
            default = default.name
        if isinstance(default, BaseModel):
            yield from _settings(type(default), f"{prefix}{name}.", default)
            continue
        choices = [str(choice) for choice in get_args(field.annotation)] if _is_literal(field.annotation) else []
        row = {"default": default, "required": values is None and field.is_required()}
        yield f"{prefix}{name}", {**row, "choices": choices, "description": field.description or ""}


def _is_literal(annotation: Any) -> bool:
    return get_origin(annotation) is Literal
