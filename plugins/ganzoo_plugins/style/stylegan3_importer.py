"""StyleGAN3's weights as NVIDIA's code writes them, renamed to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ganzoo import DataSpec, Image, Imported, Label, UserError
from ganzoo.files import entries, module_tensors
from ganzoo_plugins.networks.stylegan3 import StyleGAN3Config, bands, resampling
from ganzoo_plugins.style.importers import MAPPING, NVIDIA, Rules, count, nvidia_data, nvidia_discriminator, renamed

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

__all__ = ["stylegan3"]

_NAMES: Rules = (
    *MAPPING,
    (r"synthesis\.input\.(weight|phases|affine\.weight|affine\.bias)", r"synthesis.input.\1"),
    (r"synthesis\.input\.freqs", "synthesis.input.frequencies"),
    (r"synthesis\.L(\d+)\.(weight|bias|affine\.weight|affine\.bias)", r"synthesis.layers.\1.\2"),
    (r"synthesis\.L(\d+)\.magnitude_ema", r"synthesis.layers.\1.magnitude"),
)

_LAYER = re.compile(r"(synthesis\.L(\d{1,2}))_(\d{1,5})_\d{1,5}(\..+)")
"""A tensor of a layer, whose name has its number, the side of its map, and its channels."""


def stylegan3(state: Any) -> Imported:
    """Read a pickle of stylegan3's configurations T and R: G, D and G_ema."""
    found = entries(state)
    if "G_ema" not in found:
        raise UserError("this is no pickle of stylegan3: it has no G_ema")
    averaged = module_tensors(found["G_ema"])
    if "synthesis.input.freqs" not in averaged:
        raise UserError(
            "this is no StyleGAN3, whose synthesis starts with Fourier features; those of StyleGAN2 are imported "
            "--as stylegan2-ada"
        )
    sizes = {int(match[2]): int(match[3]) for name in averaged if (match := _LAYER.fullmatch(name))}
    generator, filters = _plain(averaged)
    tensors, group = nvidia_discriminator(found)
    data = nvidia_data(found)
    config, image, labels = _config(generator, sizes, group)
    _check(config, image, generator, sizes, filters)
    networks = {"generator": _plain(module_tensors(found["G"]))[0] if "G" in found else {}, "discriminator": tensors}
    return Imported(
        "stylegan3",
        config.model_dump(include=config.model_fields_set),
        DataSpec(data.name, (image, *labels), data.size),
        {"generator": generator},
        {name: each for name, each in networks.items() if each},
        license=NVIDIA,
    )


def _plain(tensors: Mapping[str, Tensor]) -> tuple[Tensors, Tensors]:
    """Return a generator's tensors by our names, and its filters, by the layer's number and ``up`` or ``down``."""
    named = {_LAYER.sub(r"\1\4", name): tensor for name, tensor in tensors.items()}
    transform = named.pop("synthesis.input.transform", torch.eye(3))
    if transform.shape != (3, 3) or not torch.equal(transform, torch.eye(3)):
        raise UserError("its images are turned or moved by synthesis.input.transform, which is the identity here")
    filters = {
        f"{match[1]}.{match[2]}": named.pop(name)
        for name in list(named)
        if (match := re.fullmatch(r"synthesis\.L(\d+)\.(up|down)_filter", name))
    }
    return renamed(named, _NAMES), filters


def _config(tensors: Tensors, sizes: Mapping[int, int], group: int) -> tuple[StyleGAN3Config, Image, tuple[Label, ...]]:
    """Infer the settings from the shapes of the generator."""
    last = len(sizes) - 1
    if last < 3 or sorted(sizes) != list(range(last + 1)):
        raise UserError("its layers are not numbered from 0 to 3 or more")
    try:
        mapping = count(tensors, "mapping.layers")
        style, inputs = (
            len(tensors[f"mapping.layers.{mapping - 1}.weight"]),
            tensors["mapping.layers.0.weight"].shape[1],
        )
        shapes = [tuple(tensors[f"synthesis.layers.{layer}.weight"].shape) for layer in range(last + 1)]
    except KeyError as error:
        raise UserError(f"the generator is not StyleGAN3's: it has no {error.args[0]}") from None
    embed = tensors.get("mapping.embed.weight")
    size, rotation = sizes[last], shapes[0][2] == 1
    # Channels are min(base / resolution, most) where the cutoff is highest; configuration R has twice as many.
    base, most = shapes[-1][1] * size >> rotation, max(shape[0] for shape in shapes[:-1]) >> rotation
    config = StyleGAN3Config(
        latent_dim=inputs - (0 if embed is None else len(embed)),
        style_dim=style,
        mapping_layers=mapping,
        channel_base=base,
        channel_max=most,
        deviation_group=group,
        conditional=embed is not None,
        layers=last,
        margin=(sizes[0] - 16) // 2,  # the rate of the first map is 16
        rotation=rotation,
    )
    image = Image(shapes[-1][0], size, size, range=(0, 255))
    return config, image, () if embed is None else (Label(embed.shape[1]),)


def _check(config: StyleGAN3Config, image: Image, tensors: Tensors, sizes: Mapping[int, int], filters: Tensors) -> None:
    """Refuse a network with other maps or other filters than the settings give."""
    maps = bands(config, image)
    for layer, after in enumerate(maps[1:]):
        channels = len(tensors[f"synthesis.layers.{layer}.weight"])
        if (channels, sizes[layer]) != (after.channels, after.size):
            raise UserError(
                f"its layer {layer} has {channels} channels of side {sizes[layer]}, where the paper's cutoffs give "
                f"{after.channels} of side {after.size}"
            )
        _, up, down = resampling(config, maps, layer)
        for name, ours in (("up", up), ("down", down)):
            theirs = filters.pop(f"{layer}.{name}", torch.ones(1)).double()
            if theirs.shape != ours.shape or not torch.allclose(theirs, ours, rtol=0, atol=1e-6):
                raise UserError(f"its layer {layer} has another {name}_filter than the paper's settings give")
