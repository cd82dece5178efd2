"""An importer: the generators of a small program, which have one hidden layer and names of their own."""

from typing import Any

from ganzoo import DataSpec, Image, Imported, UserError, files

_NAMES = {"hidden": "body.0", "norm": "body.1", "pixels": "head"}
"""What layers are called there, and in the model ``gan_fc``."""


def one_hidden(state: Any) -> Imported:
    """Return a model, its settings and its weights, given what the file holds.

    Raises UserError for a file of another program, and for networks that no model here has.
    """
    generator = files.entries(files.entries(state).get("G"))  # of a dict, or of a record in the place of one
    layers = {name.partition(".")[0] for name in generator}
    if layers != _NAMES.keys():
        raise UserError(f"its generator has the layers {', '.join(_NAMES)}, and that of this file is another one")
    renamed = {f"{_NAMES[name.partition('.')[0]]}.{name.partition('.')[2]}": each for name, each in generator.items()}
    width, latent = renamed["body.0.weight"].shape
    side = round(len(renamed["head.bias"]) ** 0.5)  # gray and square
    return Imported(
        model="gan_fc",
        settings={"hidden": [width], "latent_dim": latent},
        data=DataSpec("its own data", (Image(1, side, side, range=(0, 255)),), 0),
        averaged={"generator": renamed},
        networks={},  # the discriminator is not in the file, and gets random weights
    )
