"""Settings that make the bundled models small, so that they train in no time."""

from __future__ import annotations

from typing import Any

from ganzoo import load_registry

_SMALL: dict[str, Any] = {
    "width": 4,
    "critic_width": 4,
    "discriminator_width": 4,
    "latent_dim": 4,
    "hidden": [8, 8],
    "widths": [4, 8],
    "group": 4,
    "embedding_dim": 3,
    "blocks": 1,
    "patch_layers": 2,
    "style_dim": 4,
    "channel_base": 64,
    "channel_max": 8,
}


def settings_of(model: str) -> set[str]:
    """Return the names of a model's settings."""
    return set(load_registry().get("model", model).spec.load().Config.model_fields)


def small(model: str) -> list[str]:
    """Return what ``--set`` takes to make a model small."""
    has = settings_of(model)
    sets = [f"model.{name}={value}" for name, value in _SMALL.items() if name in has]
    if model in ("aae", "bigan"):  # of one hidden layer
        sets[sets.index("model.hidden=[8, 8]")] = "model.hidden=8"
    return sets
