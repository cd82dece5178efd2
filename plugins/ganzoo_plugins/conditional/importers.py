"""BigGAN's weights as others have published them, renamed to ours.

Spectral norm is kept, with the singular vectors of the file, so that a training goes on as it would there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from torch.nn.functional import normalize

from ganzoo import DataSpec, Image, Imported, Label, UserError
from ganzoo.files import named_tensors, read_pickle
from ganzoo_plugins.networks.biggan import generator_widths

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

__all__ = ["biggan_pytorch"]


def biggan_pytorch(state: Any, *, discriminator: str = "") -> Imported:
    """Read the .pth of a generator of BigGAN-PyTorch, G_ema or G, and with ``discriminator`` the file of its D."""
    tensors = _cast(state)
    try:
        count = len({found[1] for name in tensors if (found := re.match(r"blocks\.(\d{1,2})\.", name))})
        weight = {name: tuple(each.shape) for name, each in tensors.items() if name.endswith("weight")}
        inputs, outputs = weight["blocks.0.0.bn1.gain.weight"], weight["linear.weight"]
        widths = [inputs[0], *(weight[f"blocks.{block}.0.conv2.weight"][0] for block in range(count))]
        channels = weight["output_layer.2.weight"][0]
    except KeyError as error:
        raise UserError(f"this is no generator of BigGAN-PyTorch: it has no {error.args[0]}") from None
    if "shared.weight" not in weight:
        raise UserError("its layers have no class embedding that they share (G_shared), as biggan's have here")
    classes, embedding = weight["shared.weight"]
    if inputs[1] != embedding + outputs[1]:
        raise UserError("its latents are not hierarchical (hier), as biggan's are here: a part for each block")
    if outputs[0] != 16 * widths[0]:
        raise UserError("its first map is not 4x4, as biggan's is here")
    attended = [8 << block for block in range(count) if f"blocks.{block}.1.theta.weight" in weight]
    if len(attended) > 1:
        raise UserError(f"it has self-attention at the sizes {attended}, and biggan here at one")
    image = Image(channels, 4 << count, 4 << count, range=(0, 255))
    settings = {
        "width": _width(image, widths),
        "chunk_dim": outputs[1],
        "embedding_dim": embedding,
        "attention": attended[0] if attended else 0,
        "spectral_norm": "linear.u0" in tensors,
    }
    networks, notes = {}, []
    if discriminator:
        networks["discriminator"] = _discriminator(_cast(read_pickle(str(discriminator))))
        notes.append(f"The discriminator is that of {PurePath(discriminator).name}.")
    return Imported(
        "biggan",
        settings,
        DataSpec("unknown", (image, Label(classes)), 0),
        {"generator": _generator(tensors)},
        networks,
        notes=tuple(notes),
    )


def _cast(state: Any) -> Tensors:
    return {name: tensor.float() for name, tensor in named_tensors(state).items()}


def _width(image: Image, widths: list[int]) -> int:
    """Return what all numbers of channels are multiples of."""
    width = widths[-1] // generator_widths(image, 1)[0][-1]
    if generator_widths(image, width)[0] != widths:
        raise UserError(f"the channels of the generator, {widths}, are not those of BigGAN's tables")
    return width


_PARTS = {
    "bn1": "norm1",
    "bn2": "norm2",
    "gain": "weight",
    "stored_mean": "running_mean",
    "stored_var": "running_var",
    "conv_sc": "shortcut",
    "theta": "query",
    "phi": "key",
    "g": "value",
    "o": "output",
    "shared": "shared.parts.0",
    "output_layer": "head",
    "embed": "projections.0",
}
"""What parts of a name are called here; all others are the same."""


_ROW = re.compile(r"^blocks\.(\d{1,2})\.([01])\.")
"""A residual block, or the attention behind it."""


def _generator(tensors: Tensors) -> Tensors:
    def block(found: re.Match[str]) -> str:
        return f"{('blocks', 'attention')[int(found[2])]}.{found[1]}."

    return _renamed(tensors, {"linear": "stem.0"}, lambda name: _ROW.sub(block, name))


def _discriminator(tensors: Tensors) -> Tensors:
    # Blocks and attention stand in one row here.
    rows = {(int(found[1]), int(found[2])) for name in tensors if (found := _ROW.match(name))}
    places = {row: place for place, row in enumerate(sorted(rows))}

    def placed(found: re.Match[str]) -> str:
        return f"features.{places[int(found[1]), int(found[2])]}."

    return _renamed(tensors, {"linear": "head"}, lambda name: _ROW.sub(placed, name))


def _renamed(tensors: Tensors, parts: Mapping[str, str], placed: Callable[[str], str]) -> Tensors:
    """Return the tensors by our names, as far as those are known, with the singular vectors of their weights."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        layer, _, last = name.rpartition(".")
        if re.fullmatch(r"(u|sv)\d+", last):  # the first of them goes with its weight
            continue
        new = ".".join({**_PARTS, **parts}.get(part, part) for part in placed(name).split("."))
        new = re.sub(r"(norm\d)\.(running_\w+)", r"\1.norm.\2", new)
        u = tensors.get(f"{layer}.u0")
        found |= {new: tensor} if last != "weight" or u is None else _normalized(new, tensor, u)
    return found


def _normalized(name: str, weight: Tensor, u: Tensor) -> Tensors:
    """Return a weight under spectral norm, given the left singular vector [1, O] that the last step has left.

    In evaluation the authors' code takes half a step more than torch, the norm of W v, and keeps it nowhere.
    """
    rows = weight.flatten(1)
    v = normalize(u.flatten() @ rows, dim=0)
    name = f"{name.removesuffix('weight')}parametrizations.weight"
    return {f"{name}.original": weight, f"{name}.0._u": normalize(rows @ v, dim=0), f"{name}.0._v": v}
