"""Settings that make the bundled models small, so that they train in no time, and small data for them."""

from __future__ import annotations

from typing import Any

import pytest

from ganzoo import Column, Dataset, Image, Sequence, Table, Tokens, load_registry
from ganzoo.fields import Field
from ganzoo.testing.samples import random_data

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
    "recovery_width": 8,
    "chunk_dim": 2,
    "head_dim": 2,
    "hidden_dim": 6,
    "discriminator_dim": 6,
    "discriminator_embedding_dim": 4,
    "filters": 0.02,
    "discriminator_steps": 2,
    "roll_outs": 2,
    "mle_steps": 6,
    "warmup_steps": 3,
}


TEXT = ("scratchgan", "seqgan", "text_mle")
"""The models of tokens."""

REPRESENTATIVE = (
    *("gan_fc", "wgan_gp_fc", "dcgan", "wgan_gp_conv", "cgan", "acgan", "infogan"),
    *("aae", "bigan", "inpaint", "wgan_gp_seq", "ctgan", "text_mle"),
)
"""The cheapest models of each family and each kind of data."""


def each_model(*left_out: str) -> list[Any]:
    """Return every bundled model to parametrize a test with; all but the representative ones are for ``-m slow``."""
    names = [entry.spec.key for entry in load_registry().specs("model") if entry.distribution == "torch-ganzoo"]
    return [
        pytest.param(name, marks=() if name in REPRESENTATIVE else pytest.mark.slow)
        for name in names
        if name not in left_out
    ]


def settings_of(model: str) -> set[str]:
    """Return the names of a model's settings."""
    return set(load_registry().get("model", model).spec.load().Config.model_fields)


def small(model: str) -> list[str]:
    """Return what ``--set`` takes to make a model small."""
    has = settings_of(model)
    sets = [f"model.{name}={value}" for name, value in _SMALL.items() if name in has]
    if model in ("aae", "bigan"):  # of one hidden layer
        sets[sets.index("model.hidden=[8, 8]")] = "model.hidden=8"
    if model in TEXT:  # a file has some 30 nodes for each position
        sets += ["data.length=5", "data.size=100", "data.held_out=20"]
    if model == "stylegan3":
        sets += ["model.layers=4", "model.margin=2"]
    if model == "ctgan":  # batches are multiples of it
        sets += ["model.pack=2"]
    if model == "seqgan":
        sets += ["data.vocabulary=12"]
    return sets


def suited(model: str) -> tuple[Field, ...]:
    """Return the fields of data that a model is for, if these are not images of any kind."""
    if model in TEXT:
        return (Tokens(5, 7),)
    return {
        "wgan_gp_seq": (Sequence(2, 16),),
        "rcgan": (Sequence(2, 16),),
        "ctgan": (Table((Column("a", (0.0, 1.0)), Column("b", categories=("x", "y")))),),
        "text2image": (
            pixels(3),
            Tokens(5, 7, ("", *(f" {word}" for word in "abcdef")), name="caption", examples=((1, 2, 0, 0, 0),)),
        ),
        "lightweight_gan": (Image(1, 32, 32, range=(0, 255)),),
    }.get(model, ())


def made(*fields: Field, paired: bool = True) -> Dataset:
    """Return a small data set of random samples."""
    return random_data(*fields, paired=paired, size=40)


def pixels(channels: int, name: str = "x") -> Image:
    """Return small images as data sets have them."""
    return Image(channels, 16, 16, range=(0, 255), name=name)
