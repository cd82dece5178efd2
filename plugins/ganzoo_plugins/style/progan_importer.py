"""ProGAN's weights as pytorch_GAN_zoo has published them: scaled otherwise than ours, and renamed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import torch

from ganzoo import DataSpec, Image, Imported, UserError
from ganzoo.files import entries, named_tensors

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

__all__ = ["pgan"]

_GAIN = sqrt(2)

_GROUP = 4  # of their minibatch deviation

_NOTE = (
    "Scores are those of the file in batches of 4. In larger ones pytorch_GAN_zoo gives samples the minibatch "
    "deviation of another group than their own."
)


def pgan(state: Any) -> Imported:
    """Read a checkpoint of a PGAN of pytorch_GAN_zoo: config, netG, netD and avgG."""
    found = entries(state)
    names = [name for name in ("avgG", "netG") if name in found]
    if not names:
        raise UserError("this is no checkpoint of pytorch_GAN_zoo: it has no avgG and no netG")
    config = entries(found.get("config"))
    _check(config)
    scaled = bool(config.get("equalizedlR", True))
    tensors = {name: _plain(found[name]) for name in (*names, "netD") if name in found}
    averaged = tensors[names[0]]
    channels = [len(each) for name, each in sorted(averaged.items()) if _WIDTHS.fullmatch(name)]
    count = len(channels) - 1
    if "formatLayer.weight" not in averaged or count < 2:
        raise UserError("this is no PGAN for images of 16x16 or more, the smallest that progan draws here")
    size = 4 << count
    # Channels are min(base / resolution, most), so the largest resolution tells the base.
    most, base = max(channels), channels[-1] * size
    if channels != [min(base // (4 << level), most) for level in range(count + 1)]:
        raise UserError(f"the channels of the generator, {channels}, are not those of a base and a maximum")
    settings = {
        "latent_dim": averaged["formatLayer.weight"].shape[1],
        "channel_base": base,
        "channel_max": most,
        "deviation_group": _GROUP,
        "progressive": False,
        "place_bias": True,
    }
    image = Image(len(averaged[f"toRGBLayers.{count}.bias"]), size, size, range=(0, 255))
    networks = {"generator": _generator(tensors[names[-1]], count, scaled)}
    if "netD" in tensors:
        networks["discriminator"] = _discriminator(tensors["netD"], count, scaled)
    return Imported(
        "progan",
        settings,
        DataSpec("unknown", (image,), 0),
        {"generator": _generator(averaged, count, scaled)},
        networks,
        notes=(_NOTE,) if "netD" in tensors else (),
    )


_WIDTHS = re.compile(r"groupScale0\.0\.bias|scaleLayers\.\d\.1\.bias")
"""The last layer of each level, of which there are nine at the most."""


def _check(config: Mapping[str, Any]) -> None:
    """Refuse what the model here computes in another way, as far as the settings in the file tell."""
    if config.get("categoryVectorDim"):
        raise UserError("this generator is conditioned on categories, and the model progan here is not")
    if config.get("lossCriterion", "WGANGP") != "WGANGP":
        raise UserError("this generator ends in tanh, as pytorch_GAN_zoo's do unless they are trained with WGANGP")
    if config.get("leakyReluLeak", 0.2) != 0.2:
        raise UserError("the slope of its leaky ReLU is not 0.2, that of progan here")
    if config.get("alpha"):
        raise UserError("its last level was still being faded in; only generators that have grown up are imported")


def _plain(state: Any) -> Tensors:
    """Return a network's tensors by one name each: older files lack the ``module`` of a layer inside its wrapper."""
    return {re.sub(r"(^|\.)module\.", r"\1", name): tensor.float() for name, tensor in named_tensors(state).items()}


class _Layers:
    """Takes layers out of a network's tensors, scaled as ours are.

    There a layer is c (w x + b) with c the root of 2 / fan-in; here it is s w x + b with s the gain over the root of
    the fan-in. Without equalized learning rates c is 1.
    """

    def __init__(self, tensors: Tensors, scaled: bool) -> None:
        self.left, self.scaled, self.found = dict(tensors), scaled, dict[str, "Tensor"]()

    def take(self, old: str, new: str, gain: float = _GAIN) -> None:
        try:
            weight, bias = self.left.pop(f"{old}.weight"), self.left.pop(f"{old}.bias")
        except KeyError as error:
            raise UserError(f"the network has no {error.args[0]}") from None
        root = sqrt(prod(weight.shape[1:]))
        factor = _GAIN / root if self.scaled else 1.0
        self.found[f"{new}.weight"], self.found[f"{new}.bias"] = weight * (factor * root / gain), bias * factor

    def levels(self, count: int, side: str, gain: float) -> None:
        """Take the levels above the first one, and the layer between the last and images."""
        for level in range(1, count + 1):
            for layer in (0, 1):
                self.take(f"scaleLayers.{level - 1}.{layer}", f"levels.{level}.convolutions.{layer}")
        self.take(f"{side}.{count}", f"levels.{count}.image", gain)

    def all(self, unused: str) -> Tensors:
        """Return what was taken; raises :class:`UserError` if there is more than what is not used any more."""
        if more := [name for name in self.left if not name.startswith(unused)]:
            raise UserError(f"the network has {more[0][:80]}, which ProGAN's has not")
        return self.found


def _generator(tensors: Tensors, count: int, scaled: bool) -> Tensors:
    layers = _Layers(tensors, scaled)
    layers.take("formatLayer", "dense", _GAIN / 4)
    layers.found["bias"] = layers.found.pop("dense.bias").reshape(-1, 4, 4)
    layers.take("groupScale0.0", "levels.0.convolutions.0")
    layers.levels(count, "toRGBLayers", 1)
    return layers.all("toRGBLayers.")


def _discriminator(tensors: Tensors, count: int, scaled: bool) -> Tensors:
    layers = _Layers(tensors, scaled)
    layers.levels(count, "fromRGBLayers", _GAIN)
    layers.take("groupScaleZero.0", "convolution")
    layers.take("groupScaleZero.1", "hidden")
    layers.take("decisionLayer", "score", 1)
    weight = layers.found["convolution.weight"]
    outputs, inputs = weight.shape[:2]
    if inputs == outputs:  # without a minibatch deviation, which then weighs nothing; ours counts it as an input
        weight = torch.cat([weight * sqrt((inputs + 1) / inputs), torch.zeros_like(weight[:, :1])], 1)
    # Their variance is that of a sample, ours that of a population.
    deviation = weight[:, -1:] * sqrt(_GROUP / (_GROUP - 1))
    layers.found["convolution.weight"] = torch.cat([weight[:, :-1], deviation], 1)
    return layers.all("fromRGBLayers.")
