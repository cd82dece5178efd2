"""StyleGAN2's weights as others have published them, renamed to ours.

The layouts of NVIDIA's PyTorch code (stylegan2-ada-pytorch, and the configuration stylegan2 of stylegan3) and of
rosinality's are those of the same network: names differ, and some shapes by dimensions of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import torch

from ganzoo import DataSpec, Image, Imported, Label, UserError
from ganzoo.files import entries, module_tensors, named_tensors

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

__all__ = [
    "MAPPING",
    "NVIDIA",
    "Rules",
    "count",
    "nvidia_data",
    "nvidia_discriminator",
    "nvlabs",
    "renamed",
    "rosinality",
]

NVIDIA = "Nvidia Source Code License, non-commercial use only"

_CLAMP = "The authors' training clamps activations to -256..256; here nothing is clamped, which they rarely reach."

_LATENTS = 10_000  # that a mean of w is taken over which a file lacks


def nvlabs(state: Any) -> Imported:
    """Read the pickle of stylegan2-ada-pytorch, or of stylegan3 with its configuration stylegan2: G, D and G_ema."""
    found = entries(state)
    if "G_ema" not in found:
        raise UserError("this is no pickle of stylegan2-ada-pytorch or stylegan3: it has no G_ema")
    averaged = module_tensors(found["G_ema"])
    if "synthesis.b4.const" not in averaged:
        raise UserError(
            "this is no StyleGAN2, whose synthesis starts at b4.const; those of StyleGAN3, with Fourier features, are "
            "imported --as stylegan3"
        )
    generators = {name: renamed(module_tensors(found[name]), _GENERATOR) for name in ("G_ema", "G") if name in found}
    discriminator, group = nvidia_discriminator(found)
    return _imported(
        generators["G_ema"],
        generators.get("G", {}),
        discriminator,
        nvidia_data(found),
        group,
        license=NVIDIA,
        notes=(_CLAMP,),
    )


def nvidia_discriminator(found: Mapping[str, Any]) -> tuple[Tensors, int]:
    """Return the discriminator's tensors by our names, none if there are none, and its group of samples."""
    if "D" not in found:
        return {}, 4
    return renamed(_numbered(module_tensors(found["D"])), _DISCRIMINATOR), _group(found["D"], 4)


def nvidia_data(found: Mapping[str, Any]) -> DataSpec:
    """Return what is said about the data, which is no more than its name and its size."""
    used = entries(found.get("training_set_kwargs"))
    name = PurePosixPath(str(used.get("path") or "unknown")).stem[:60]
    size = used.get("max_size")
    return DataSpec(name, (), size if isinstance(size, int) else 0)


def rosinality(state: Any) -> Imported:
    """Read the .pt of rosinality's stylegan2-pytorch, of a training or converted: g_ema, and g, d and latent_avg."""
    found = entries(state)
    if "g_ema" not in found:
        raise UserError("this is no checkpoint of rosinality's stylegan2-pytorch: it has no g_ema")
    generators = {name: renamed(named_tensors(found[name]), _OF_ROSINALITY) for name in ("g_ema", "g") if name in found}
    discriminator = renamed(_numbered_from_image(named_tensors(found["d"])), _D_OF_ROSINALITY) if "d" in found else {}
    averaged = generators["g_ema"]
    mean = found.get("latent_avg")
    averaged["mapping.mean"] = mean.flatten() if isinstance(mean, torch.Tensor) else _mean_style(averaged)
    if "g" in generators:
        generators["g"]["mapping.mean"] = averaged["mapping.mean"]
    data = DataSpec("unknown", (), 0)
    return _imported(averaged, generators.get("g", {}), discriminator, data, 4)


def _imported(
    averaged: Tensors, generator: Tensors, discriminator: Tensors, data: DataSpec, group: int, **known: Any
) -> Imported:
    """Infer the settings from the shapes of the generator, and put all together."""
    try:
        shapes = {name: tuple(tensor.shape) for name, tensor in averaged.items()}
        mapping = count(shapes, "mapping.layers")
        style, inputs = shapes[f"mapping.layers.{mapping - 1}.weight"][0], shapes["mapping.layers.0.weight"][1]
        embed = shapes.get("mapping.embed.weight")
        levels = count(shapes, "synthesis.blocks")
        images = [shapes[f"synthesis.blocks.{level}.to_image.convolution.weight"] for level in range(levels)]
    except (KeyError, IndexError) as error:
        raise UserError(
            f"the generator is not StyleGAN2's with skip connections, which adds up an image at each size: it has no "
            f"{error.args[0]}"
        ) from None
    channels = [shape[1] for shape in images]
    # channels are min(base / resolution, most), so the largest resolution tells the base.
    most, base = max(channels), channels[-1] * (4 << (levels - 1))
    if channels != [min(base // (4 << level), most) for level in range(levels)]:
        raise UserError(f"the channels of the generator, {channels}, are not those of a base and a maximum")
    size = 4 << (levels - 1)
    fields = [Image(images[-1][0], size, size, range=(0, 255)), *([Label(embed[1])] if embed else [])]
    settings = {
        "latent_dim": inputs - (embed[0] if embed else 0),
        "style_dim": style,
        "mapping_layers": mapping,
        "channel_base": base,
        "channel_max": most,
        "deviation_group": group,
        "conditional": embed is not None,
        "optimizer": {"lr": 2.5e-3},  # the authors', for networks of this size
    }
    networks = {"generator": generator, "discriminator": discriminator}
    return Imported(
        "stylegan2",
        settings,
        DataSpec(data.name, tuple(fields), data.size),
        {"generator": averaged},
        {name: tensors for name, tensors in networks.items() if tensors},
        **known,
    )


def count(shapes: Mapping[str, Any], name: str) -> int:
    """Return how many modules a list has."""
    return len({found[1] for key in shapes if (found := re.match(rf"{re.escape(name)}\.(\d+)\.", key))})


Rules = tuple[tuple[str, str], ...]

_LAYER: Rules = (
    (r"affine\.(weight|bias)", r"affine.\1"),
    (r"weight", "convolution.weight"),
    (r"bias", "bias"),
    (r"noise_const", "noise"),
    (r"noise_strength", "strength"),
)

_IMAGE: Rules = _LAYER[:3]

MAPPING: Rules = (
    (r"mapping\.fc(\d+)\.(weight|bias)", r"mapping.layers.\1.\2"),
    (r"mapping\.embed\.(weight|bias)", r"mapping.embed.\1"),
    (r"mapping\.w_avg", "mapping.mean"),
)
"""The mapping network's names in NVIDIA's code, and ours."""

_GENERATOR: Rules = (
    *MAPPING,
    (r"synthesis\.b4\.const", "synthesis.constant"),
    *((rf"synthesis\.b4\.conv1\.{old}", f"synthesis.blocks.0.layers.0.{new}") for old, new in _LAYER),
    *(
        (rf"synthesis\.b{4 << level}\.conv{layer}\.{old}", f"synthesis.blocks.{level}.layers.{layer}.{new}")
        for level in range(1, 9)
        for layer in (0, 1)
        for old, new in _LAYER
    ),
    *(
        (rf"synthesis\.b{4 << level}\.torgb\.{old}", f"synthesis.blocks.{level}.to_image.{new}")
        for level in range(9)
        for old, new in _IMAGE
    ),
    (r".*resample_filter", ""),
)

_DISCRIMINATOR: Rules = (
    *MAPPING,
    (r"blocks\.0\.fromrgb\.(weight|bias)", r"from_image.\1"),
    (r"blocks\.(\d+)\.conv0\.(weight|bias)", r"blocks.\1.first.\2"),
    (r"blocks\.(\d+)\.conv1\.(weight|bias)", r"blocks.\1.second.\2"),
    (r"blocks\.(\d+)\.skip\.weight", r"blocks.\1.skip.weight"),
    (r"b4\.conv\.(weight|bias)", r"convolution.\1"),
    (r"b4\.fc\.(weight|bias)", r"hidden.\1"),
    (r"b4\.out\.(weight|bias)", r"score.\1"),
    (r".*resample_filter", ""),
)

_STYLED: Rules = (
    (r"conv\.weight", "convolution.weight"),
    (r"conv\.modulation\.(weight|bias)", r"affine.\1"),
    (r"noise\.weight", "strength"),
    (r"activate\.bias", "bias"),
)

_TO_RGB: Rules = (*_STYLED[:2], (r"bias", "bias"))

_OF_ROSINALITY: Rules = (
    # style.0 is the normalization.
    *((rf"style\.{layer + 1}\.(weight|bias)", rf"mapping.layers.{layer}.\1") for layer in range(64)),
    (r"input\.input", "synthesis.constant"),
    *((rf"conv1\.{old}", f"synthesis.blocks.0.layers.0.{new}") for old, new in _STYLED),
    *((rf"to_rgb1\.{old}", f"synthesis.blocks.0.to_image.{new}") for old, new in _TO_RGB),
    *(
        (rf"convs\.{layer}\.{old}", f"synthesis.blocks.{layer // 2 + 1}.layers.{layer % 2}.{new}")
        for layer in range(16)
        for old, new in _STYLED
    ),
    *(
        (rf"to_rgbs\.{level}\.{old}", f"synthesis.blocks.{level + 1}.to_image.{new}")
        for level in range(8)
        for old, new in _TO_RGB
    ),
    (r"noises\.noise_0", "synthesis.blocks.0.layers.0.noise"),
    *(
        (rf"noises\.noise_{layer + 1}", f"synthesis.blocks.{layer // 2 + 1}.layers.{layer % 2}.noise")
        for layer in range(16)
    ),
    (r".*\.kernel", ""),
)

_D_OF_ROSINALITY: Rules = (
    (r"from_image\.0\.weight", "from_image.weight"),
    (r"from_image\.1\.bias", "from_image.bias"),
    (r"blocks\.(\d+)\.conv1\.0\.weight", r"blocks.\1.first.weight"),
    (r"blocks\.(\d+)\.conv1\.1\.bias", r"blocks.\1.first.bias"),
    (r"blocks\.(\d+)\.conv2\.1\.weight", r"blocks.\1.second.weight"),
    (r"blocks\.(\d+)\.conv2\.2\.bias", r"blocks.\1.second.bias"),
    (r"blocks\.(\d+)\.skip\.1\.weight", r"blocks.\1.skip.weight"),
    (r"final_conv\.0\.weight", "convolution.weight"),
    (r"final_conv\.1\.bias", "convolution.bias"),
    (r"final_linear\.0\.(weight|bias)", r"hidden.\1"),
    (r"final_linear\.1\.(weight|bias)", r"score.\1"),
    (r".*\.kernel", ""),
)


def renamed(tensors: Mapping[str, Tensor], rules: Rules) -> Tensors:
    """Return the tensors by our names and in our shapes; raises :class:`UserError` for one that has none.

    Filters are left out where they are [1, 3, 3, 1], as ours are, and refused otherwise.
    """
    compiled = [(re.compile(old), new) for old, new in rules]
    found: Tensors = {}
    for name, tensor in tensors.items():
        new = next((match.expand(to) for old, to in compiled if (match := old.fullmatch(name))), None)
        if new is None:
            raise UserError(f"the weights have {name[:80]}, which StyleGAN2's networks have not")
        if not new:
            line = torch.tensor([1.0, 3.0, 3.0, 1.0])
            kernel = tensor.float()
            if kernel.shape != (4, 4) or not torch.allclose(kernel / kernel.sum(), torch.outer(line, line) / 64):
                raise UserError(f"the filter {name[:80]} is not [1, 3, 3, 1], the only one that StyleGAN2 has here")
            continue
        if not tensor.is_floating_point():
            raise UserError(f"the weights {name[:80]} are of {tensor.dtype}")
        if new.endswith("strength"):
            tensor = tensor.reshape(()) if tensor.numel() == 1 else tensor
        elif new.endswith(".noise"):
            tensor = tensor.reshape(tensor.shape[-2:])
        elif new.endswith("to_image.bias"):
            tensor = tensor.flatten()
        elif (new.endswith("convolution.weight") and tensor.dim() == 5) or (
            new == "synthesis.constant" and tensor.dim() == 4
        ):
            tensor = tensor[0]
        found[new] = tensor.float()
    return found


def _numbered(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return the tensors of NVIDIA's discriminator, its blocks numbered from the image down: b64, b32 ... b8."""
    sizes = sorted({int(found[1]) for name in tensors if (found := re.match(r"b(\d{1,5})\.", name))} - {4})[::-1]
    blocks = {f"b{size}": f"blocks.{number}" for number, size in enumerate(sizes)}
    named = {name: name.partition(".") for name in tensors}
    return {f"{blocks.get(first, first)}{dot}{rest}": tensors[name] for name, (first, dot, rest) in named.items()}


def _numbered_from_image(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return the tensors of rosinality's discriminator: convs.0 is the layer of the image, the others are blocks."""

    def block(found: re.Match[str]) -> str:
        return "from_image." if found[1] == "0" else f"blocks.{int(found[1]) - 1}."

    return {re.sub(r"^convs\.(\d{1,5})\.", block, name): tensor for name, tensor in tensors.items()}


def _group(discriminator: Any, default: int) -> int:
    """Return the group of NVIDIA's minibatch deviation; there None is the whole batch."""
    module = entries(entries(discriminator).get("_modules")).get("b4")
    deviation = entries(entries(entries(module).get("_modules")).get("mbstd"))
    size = deviation.get("group_size", default)
    return size if isinstance(size, int) and size > 0 else default


def _mean_style(tensors: Tensors) -> Tensor:
    """Return the mean of w, computed by the mapping network of a checkpoint."""
    layers = count(tensors, "mapping.layers")
    if not layers:
        raise UserError("the checkpoint has no mapping network")
    x = torch.randn(_LATENTS, tensors["mapping.layers.0.weight"].shape[1], generator=torch.Generator().manual_seed(0))
    x = x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for layer in range(layers):
        weight, bias = (tensors[f"mapping.layers.{layer}.{part}"] for part in ("weight", "bias"))
        x = torch.nn.functional.linear(x, weight * (0.01 / weight.shape[1] ** 0.5), bias * 0.01)
        x = torch.nn.functional.leaky_relu(x, 0.2) * 2**0.5
    return x.mean(0)
