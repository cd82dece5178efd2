"""R3GAN's weights as the authors publish them: pickles of whole modules, renamed to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import torch

from ganzoo import DataSpec, Image, Imported, Label, UserError
from ganzoo.files import entries, module_tensors

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

__all__ = ["r3gan"]

_BLOCK = {
    "LinearLayer1.Layer.weight": "body.0.weight",
    "NonLinearity1.Bias": "body.0.bias",
    "LinearLayer2.Layer.weight": "body.2.weight",
    "NonLinearity2.Bias": "body.2.bias",
    "LinearLayer3.Layer.weight": "body.4.weight",
}
"""A residual block: there biases belong to the activations."""


def r3gan(state: Any) -> Imported:
    """Read a pickle of the authors' training loop: G, D and G_ema, for images with classes or without."""
    found = entries(state)
    if "G_ema" not in found:
        raise UserError("this is no pickle of R3GAN's code: it has no G_ema")
    tensors = {name: module_tensors(found[name]) for name in ("G_ema", "G", "D") if name in found}
    averaged = tensors["G_ema"]
    embedding = averaged.get("Model.EmbeddingLayer.weight")
    layers = [match for name in averaged if (match := _FIRST_LAYER.fullmatch(name))]
    stages = len({match[1] for match in layers})
    try:
        shapes = {name.removeprefix("Model."): tuple(tensor.shape) for name, tensor in averaged.items()}
        image, basis = shapes["AggregationLayer.Layer.weight"], shapes["MainLayers.0.Layers.0.LinearLayer.weight"]
        firsts = [shapes[f"MainLayers.{stage}.Layers.1.LinearLayer1.Layer.weight"] for stage in range(stages)]
        group = shapes["MainLayers.0.Layers.1.LinearLayer2.Layer.weight"][1]
    except KeyError as error:
        raise UserError(f"this is no generator of R3GAN's code: it has no {error.args[0]}") from None
    widths = [shape[1] for shape in firsts][::-1]
    if not 3 <= stages <= 9 or not all(widths):
        raise UserError("this is no generator of R3GAN's code for images of 16x16 to 1024x1024")
    expansion = firsts[0][0] // firsts[0][1]
    while len(widths) > 1 and widths[-1] == widths[-2]:  # the last width is kept further on
        widths.pop()
    settings = {
        "latent_dim": basis[1] if embedding is None else basis[1] - len(embedding),
        "widths": widths,
        "blocks": len({match[2] for match in layers if match[1] == "0"}),
        "expansion": expansion,
        "group": group,
        "fir": True,
        "conditional": embedding is not None,
    }
    if embedding is not None and 2 * len(embedding) != basis[1]:
        raise UserError(
            f"its embedding has {len(embedding)} numbers, and not as many as the latent, {basis[1] - len(embedding)}"
        )
    size = 4 << (stages - 1)
    name = PurePosixPath(str(entries(found.get("training_set_kwargs")).get("path") or "unknown")).stem[:60]
    fields: list[Image | Label] = [Image(image[0], size, size, range=(0, 255))]
    fields += [] if embedding is None else [Label(embedding.shape[1])]
    networks = {"generator": tensors.get("G"), "discriminator": tensors.get("D")}
    return Imported(
        "r3gan",
        settings,
        DataSpec(name, tuple(fields), 0),
        {"generator": _renamed(averaged, "generator", stages)},
        {key: _renamed(each, key, stages) for key, each in networks.items() if each is not None},
    )


_FIRST_LAYER = re.compile(r"Model\.MainLayers\.(\d+)\.Layers\.(\d+)\.LinearLayer1\.Layer\.weight")
"""The first convolution of a block: the number of its stage, and its own in it."""


def _renamed(tensors: Mapping[str, Tensor], network: str, stages: int) -> Tensors:
    """Return a network's tensors by our names: all layers stand in one row, ``body``.

    There each stage is a list that its transition begins, or in the discriminator ends: the basis, or a 1x1 convolution
    where the width changes, and the resampling.
    """
    known = dict(tensors)
    found: Tensors = {}
    place = 0

    def take(old: str, new: str = "") -> None:
        tensor = known.pop(f"Model.{old}", None)
        if tensor is None:
            raise UserError(f"the {network} has no {old}")
        found[f"body.{place}.{new or old}"] = tensor.float()

    def image(layer: str) -> None:
        nonlocal place
        take(f"{layer}.Layer.weight", "weight")
        found[f"body.{place}.bias"] = torch.zeros(len(found[f"body.{place}.weight"]))
        place += 1

    def transition(stage: int, layer: int, *, up: bool) -> None:
        nonlocal place
        name = f"MainLayers.{stage}.Layers.{layer}"
        kernel = known.pop(f"Model.{name}.Resampler.Kernel", None)
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        if kernel is None or kernel.shape != (4, 4) or not torch.allclose(kernel.float(), torch.outer(line, line) / 64):
            raise UserError(f"the {network}'s filter {name} is not [1, 3, 3, 1]")
        narrowed = f"Model.{name}.LinearLayer.Layer.weight" in known
        place += not up  # the filter, which has no weights, comes first
        if narrowed:
            take(f"{name}.LinearLayer.Layer.weight", "weight")
            place += 1
        place += up

    def blocks(stage: int, begin: int) -> int:
        nonlocal place
        layer = begin
        while f"Model.MainLayers.{stage}.Layers.{layer}.LinearLayer1.Layer.weight" in known:
            for old, new in _BLOCK.items():
                take(f"MainLayers.{stage}.Layers.{layer}.{old}", new)
            place, layer = place + 1, layer + 1
        return layer

    if network == "generator":
        take("MainLayers.0.Layers.0.Basis", "constant")
        take("MainLayers.0.Layers.0.LinearLayer.weight", "scale.weight")
        place += 1
        for stage in range(stages):
            if stage:
                transition(stage, 0, up=True)
            blocks(stage, 1)
        image("AggregationLayer")
    else:
        image("ExtractionLayer")
        for stage in range(stages):
            layer = blocks(stage, 0)
            if stage < stages - 1:
                transition(stage, layer, up=False)
        take(f"MainLayers.{stages - 1}.Layers.{layer}.Basis.weight", "weight")
        found[f"body.{place}.weight"] = found[f"body.{place}.weight"].squeeze(1)
        take(f"MainLayers.{stages - 1}.Layers.{layer}.LinearLayer.weight", "score.weight")
    embedding = known.pop("Model.EmbeddingLayer.weight", None)
    if embedding is not None:
        found["embedding.map.weight"] = embedding.float()
    if known:
        raise UserError(f"the {network} has {next(iter(known))[:80]}, which R3GAN's has not")
    return found
