"""lightweight-gan's weights, renamed to ours; its discriminator's scores have the other sign."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ganzoo import DataSpec, Image, Imported, UserError
from ganzoo.files import entries, named_tensors

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

__all__ = ["lightweight_gan"]

_ATTENTION = {
    "norm.g": "norm.scale",
    "norm.b": "norm.shift",
    "fn.to_lin_q.weight": "global_query.weight",
    "fn.to_lin_kv.net.0.weight": "global_key_value.0.weight",
    "fn.to_lin_kv.net.1.weight": "global_key_value.1.weight",
    "fn.to_q.weight": "query.weight",
    "fn.to_kv.weight": "key_value.weight",
    "fn.to_out.weight": "output.weight",
    "fn.to_out.bias": "output.bias",
}

_BLOCKS = {
    # A level of the generator: theirs has the pixel shuffle and the padded convolution as blocks of their own.
    "generator": {"0.net.0": "body.0", "2.1": "body.5", "3.weight": "body.6.strength", "4": "body.7"},
    # A level of the discriminator. The first entry of each branch is the filter, and ours has one for both.
    "down": {"branches.0.1.1": "body.1", "branches.0.3": "body.3", "branches.1.2": "skip.1"},
    "decoder": {"0.net.0": "0", "1": "3"},
}


def lightweight_gan(state: Any) -> Imported:
    """Read a checkpoint of lightweight-gan: the networks G, D and GE under ``GAN``."""
    found = entries(state)
    tensors = named_tensors(found.get("GAN", state))
    networks = {name: _part(tensors, f"{name}.") for name in ("GE", "G", "D")}
    averaged = networks["GE"] or networks["G"]
    if "initial_conv.0.weight" not in averaged or "out_conv.weight" not in averaged:
        raise UserError("this is no checkpoint of lightweight-gan: it has no GE with an initial_conv and an out_conv")
    if any(name.endswith("dct_weights") for name in averaged):
        raise UserError("this generator was trained with --freq-chan-attn, which the model here does not have")
    latent = len(averaged["initial_conv.0.weight"])
    levels = len({match[1] for name in averaged if (match := re.match(r"layers\.(\d)\.0\.", name))})
    if not 3 <= levels <= 8:
        raise UserError("this is no generator of lightweight-gan for images of 32x32 to 1024x1024")
    widths = [len(averaged[f"layers.{index}.0.2.1.weight"]) // 2 for index in range(min(levels, 6))]
    most = max(widths)
    # Channels are min(base / side, most), so the largest map that is not capped at 3 tells the base.
    base = widths[-1] << (len(widths) + 1)
    if widths != [min(base >> level, most) for level in range(2, len(widths) + 2)]:
        raise UserError(f"the channels of the generator, {widths}, are not those of a base and a maximum")
    image = len(averaged["out_conv.weight"])
    size = 1 << (levels + 2)
    # Index 0 is the smallest map in the generator, and the largest, of 256 pixels at most, in the discriminator.
    sides = {4 << index for index in range(levels) if f"layers.{index}.2.norm.g" in averaged}
    largest = min(size, 256)
    sides |= {largest >> index for index in range(6) if f"residual_layers.{index}.1.norm.g" in networks["D"]}
    settings: dict[str, Any] = {
        "latent_dim": latent,
        "channel_base": base,
        "channel_max": most,
        "attention": sorted(sides),
        "heads": 8,
        "head_dim": 64,
    }
    discriminator: dict[str, Mapping[str, Tensor]] = {}
    if networks["D"]:
        settings["score_map"] = 5 if "to_logits.2.weight" in networks["D"] else 1
        discriminator["discriminator"] = _discriminator(networks["D"], levels + 2, settings["score_map"])
    return Imported(
        "lightweight_gan",
        settings,
        DataSpec("unknown", (Image(image, size, size, range=(0, 255)),), 0),
        {"generator": _generator(averaged, levels)},
        ({"generator": _generator(networks["G"], levels)} if networks["G"] else {}) | discriminator,
        notes=("Samples are drawn without the noise that lightweight-gan adds to every map.",),
    )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    # The filters' taps are constants, and batch norm's counters count nothing that is used.
    left_out = (".f", "num_batches_tracked")
    return {
        name.removeprefix(prefix): tensor.float()
        for name, tensor in tensors.items()
        if name.startswith(prefix) and not name.endswith(left_out)
    }


class _Renaming:
    """Moves tensors to their new names, and knows what is left."""

    def __init__(self, tensors: Mapping[str, Tensor], network: str) -> None:
        self.left, self.network = dict(tensors), network
        self.found: Tensors = {}

    def move(self, old: str, new: str) -> None:
        """Move a tensor, or all tensors of a layer."""
        names = [name for name in self.left if name == old or name.startswith(f"{old}.")]
        if not names:
            raise UserError(f"the {self.network} has no {old}")
        for name in names:
            self.found[new + name.removeprefix(old)] = self.left.pop(name)

    def block(self, layers: Mapping[str, str], old: str, new: str) -> None:
        """Move the layers of a block."""
        for theirs, ours in layers.items():
            self.move(f"{old}.{theirs}", f"{new}.{ours}")

    def attention(self, old: str, new: str) -> None:
        """Move the attention there, if there is one."""
        if f"{old}.norm.g" in self.left:
            for name in ("norm.g", "norm.b"):
                self.left[f"{old}.{name}"] = self.left[f"{old}.{name}"].flatten(0, 1)
            self.block(_ATTENTION, old, new)

    def done(self) -> Tensors:
        """Return all tensors by their new names; refuse what is left."""
        if self.left:
            raise UserError(f"the {self.network} has {next(iter(self.left))[:80]}, which lightweight-gan's has not")
        return self.found


def _generator(tensors: Mapping[str, Tensor], levels: int) -> Tensors:
    names = _Renaming(tensors, "generator")
    names.move("initial_conv", "start")
    for index in range(levels):
        names.block(_BLOCKS["generator"], f"layers.{index}.0", f"levels.{index}")
        if f"layers.{index}.1.to_k.weight" in names.left:
            names.move(f"layers.{index}.1.to_k", f"levels.{index}.excitation.weight")
            names.move(f"layers.{index}.1.net", f"levels.{index}.excitation.body")
        names.attention(f"layers.{index}.2", f"levels.{index}.attention")
    names.move("out_conv", "image")
    return names.done()


def _discriminator(tensors: Mapping[str, Tensor], level: int, score_map: int) -> Tensors:
    names = _Renaming(tensors, "discriminator")
    for index in range(max(level - 8, 0)):
        names.move(f"non_residual_layers.{index}.1", f"reduction.{3 * index + 1}")
    for index in range(min(level, 8) - 3):
        names.block(_BLOCKS["down"], f"residual_layers.{index}.0", f"levels.{index}")
        names.attention(f"residual_layers.{index}.1", f"attentions.{index}")
    first = 0 if score_map == 5 else 1  # behind a filter
    names.move(f"to_logits.{first}", f"head.{first}")
    names.move(f"to_logits.{first + 2}", f"head.{first + 2}")
    names.move("to_shape_disc_out.0", "small_head.0")
    names.attention("to_shape_disc_out.1.fn", "small_head.1")
    names.block(_BLOCKS["down"], "to_shape_disc_out.2", "small_head.2")
    names.attention("to_shape_disc_out.3.fn", "small_head.3")
    names.move("to_shape_disc_out.5", "small_head.5")
    for old, new in (("decoder1", "decoder"), *((("decoder2", "part_decoder"),) if level >= 9 else ())):
        for index in range(4):
            for theirs, ours in _BLOCKS["decoder"].items():
                names.move(f"{old}.layers.{index}.{theirs}", f"{new}.{5 * index + int(ours)}")
    found = names.done()
    return found | {name: -found[name] for name in _last(f"head.{first + 2}", "small_head.5")}


def _last(*layers: str) -> Iterable[str]:
    """Return the tensors of the layers that scores come from: theirs are high for generated images."""
    return [f"{layer}.{name}" for layer in layers for name in ("weight", "bias")]
