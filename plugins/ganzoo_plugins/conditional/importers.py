"""BigGAN's weights as others have published them, renamed to ours.

Spectral norm is kept, with the singular vectors of the file, so that a training goes on as it would there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import normalize

from ganzoo import DataSpec, Image, Imported, Label, UserError
from ganzoo.files import named_tensors, read_pickle
from ganzoo_plugins.networks.biggan import generator_widths

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

__all__ = ["biggan_pytorch", "pretrained_biggan"]


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
    return _spectral(name.removesuffix(".weight"), weight, normalize(rows @ v, dim=0), v)


def _spectral(layer: str, weight: Tensor, u: Tensor, v: Tensor) -> Tensors:
    """Return a weight under spectral norm and its singular vectors, as torch names them."""
    name = f"{layer}.parametrizations.weight"
    return {f"{name}.original": weight, f"{name}.0._u": u, f"{name}.0._v": v}


_EPSILON = 1e-4 - 1e-5
"""What batch norm adds to a variance there, less what it adds here."""


def pretrained_biggan(state: Any, *, truncation: float = 1.0) -> Imported:
    """Read the pytorch_model.bin of pytorch-pretrained-BigGAN, a generator of BigGAN-deep.

    The file has batch norm's statistics for 51 truncations, from 0 to 1 in steps of 0.02; a run has those of one.
    """
    tensors = {name.removeprefix("generator."): each for name, each in _cast(state).items()}
    try:
        layers = 1 + max(int(found[1]) for name in tensors if (found := re.match(r"layers\.(\d{1,2})\.", name)))
        attended = [layer for layer in range(layers) if f"layers.{layer}.gamma" in tensors]
        numbers = [layer for layer in range(layers) if layer not in attended]
        widths = [len(tensors[f"layers.{number}.bn_0.running_means"][0]) for number in numbers[::2]]
        widths.append(len(tensors["bn.running_means"][0]))
        embedding, classes = tensors["embeddings.weight"].shape
        inputs = tensors["gen_z.weight_orig"].shape[1]
        steps = len(tensors["bn.running_means"]) - 1
    except (KeyError, ValueError) as error:
        missing = error.args[0] if isinstance(error, KeyError) else "layers"
        raise UserError(f"this is no generator of pytorch-pretrained-BigGAN: it has no {missing}") from None
    if len(numbers) % 2 or len(attended) > 1 or any(layer % 2 for layer in attended):
        raise UserError("its layers are not two blocks for each size with self-attention behind one of the pairs")
    row = truncation * steps
    if not 0 < truncation <= 1 or abs(row - round(row)) > 1e-6:
        raise UserError(f"it has statistics for truncations up to 1 in steps of {1 / steps:g}, not for {truncation:g}")
    size = 4 << len(numbers) // 2
    image = Image(3, size, size, range=(0, 255))
    settings = {
        "deep": True,
        "width": _width(image, widths),
        "chunk_dim": inputs - embedding,
        "embedding_dim": embedding,
        "attention": 4 << attended[0] // 2 if attended else 0,
        "truncation": "scaled",
    }
    return Imported(
        "biggan",
        settings,
        DataSpec("unknown", (image, Label(classes)), 0),
        {"generator": _deep(tensors, numbers, round(row))},
        {},
        notes=(
            f"Batch norm's statistics are those of truncation {truncation:g}: sample it with --truncation "
            f"{truncation:g}. There the numbers of a latent are also drawn again beyond 2 deviations.",
        ),
    )


def _deep(tensors: Tensors, numbers: list[int], row: int) -> Tensors:
    """Return the tensors by our names, and of batch norm's statistics those of one row."""
    blocks = {number: f"blocks.{place // 2}.{('first', 'second')[place % 2]}" for place, number in enumerate(numbers)}

    def layer(found: re.Match[str]) -> str:
        number = int(found[1])
        return blocks.get(number, f"attention.{number // 2 - 1}")

    found: Tensors = {"shared.parts.0.weight": tensors["embeddings.weight"].T}
    for name, tensor in tensors.items():
        new = re.sub(r"^layers\.(\d{1,2})(?=\.)", layer, name)
        for old, ours in _DEEP:
            new = re.sub(old, ours, new)
        if new.endswith("running_mean"):
            found[new] = tensor[row]
        elif new.endswith("running_var"):
            found[new] = tensor[row] + _EPSILON
        elif new.endswith("gamma"):
            found[new] = tensor.reshape(())
        elif new.endswith("weight_orig"):
            u, v = (tensors[f"{name.removesuffix('orig')}{each}"] for each in "uv")
            found |= _spectral(new.removesuffix(".weight_orig"), tensor, u, v)
        elif not new.endswith(("weight_u", "weight_v", "embeddings.weight")):
            found[new] = tensor
    start = "stem.0.parametrizations.weight"
    for each in (f"{start}.original", f"{start}.0._u", "stem.0.bias"):  # there the first map has its channels last
        found[each] = found[each].unflatten(0, (4, 4, -1)).movedim(2, 0).flatten(0, 2)
    # Of the channels that the last layer returns they take three, and its norm is that of all. The three by themselves
    # have a smaller one, by a factor that batch norm in front takes up: the ReLU between them lets it through.
    end = "head.2.parametrizations.weight"
    rows, u, v = found[f"{end}.original"], found[f"{end}.0._u"], found[f"{end}.0._v"]
    left, values, right = torch.linalg.svd(rows[:3].flatten(1), full_matrices=False)
    found |= _spectral("head.2", rows[:3], left[:, 0], right[0])
    found["head.2.bias"] = found["head.2.bias"][:3]
    for each in ("head.0.weight", "head.0.bias"):
        found[each] = found[each] * (values[0] / (u @ rows.flatten(1) @ v))
    return found


_DEEP = (
    (r"^gen_z\.", "stem.0."),
    (r"^bn\.", "head.0."),
    (r"^conv_to_rgb\.", "head.2."),
    (r"\.bn_(\d)\.running", r".norms.\1.norm.running"),
    (r"\.bn_(\d)\.", r".norms.\1."),
    (r"\.scale\.", ".weight."),
    (r"\.offset\.", ".bias."),
    (r"running_(mean|var)s$", r"running_\1"),
    (r"\.conv_(\d)\.", r".convolutions.\1."),
    (r"\.snconv1x1_theta\.", ".query."),
    (r"\.snconv1x1_phi\.", ".key."),
    (r"\.snconv1x1_g\.", ".value."),
    (r"\.snconv1x1_o_conv\.", ".output."),
)
