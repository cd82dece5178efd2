"""Reads generators of one program, whose files hold a state_dict by the name of the network."""

from typing import Any

from ganzoo import DataSpec, Image, Imported, UserError, files

_NAMES = {"first": "body.0", "second": "body.2"}  # what modules are called there, and here


def example_key(state: Any) -> Imported:
    """Return the model, its settings and its weights, of what a file holds: plain containers, tensors and records.

    Raises UserError for a file of another program, and for networks that no model here has.
    """
    generator = files.entries(files.entries(state).get("generator"))
    if "first.weight" not in generator:
        raise UserError("this is no generator of that program: it has no generator.first.weight")
    renamed = {f"{_NAMES[name.partition('.')[0]]}.{name.partition('.')[2]}": each for name, each in generator.items()}
    settings = {"latent_dim": renamed["body.0.weight"].shape[1]}
    data = DataSpec("what it was trained on", (Image(1, 28, 28, range=(0, 255)),), 1)
    return Imported("gan_fc", settings, data, averaged={"generator": renamed}, networks={})
