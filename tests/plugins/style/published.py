"""Published StyleGAN2 files, written as their authors' code writes them, and the networks by the paper's equations.

Nothing here is ganzoo's: names and nesting are those of NVIDIA's and of rosinality's code; the arithmetic is written
from arXiv:1912.04958 in float64, with each sample's weights made and convolved by themselves.
"""

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, pad

LEVELS, CHANNELS, STYLE, LATENT, LAYERS = 3, [8, 8, 4], 8, 5, 2
CLASSES = 3


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape)


def generator(conditional: bool) -> dict[str, Tensor]:
    """Return a generator's parameters and buffers by NVIDIA's names: 16x16, three channels."""
    found: dict[str, Tensor] = {}
    if conditional:
        found |= {"mapping.embed.weight": drawn(STYLE, CLASSES), "mapping.embed.bias": drawn(STYLE)}
    inputs = LATENT + STYLE * conditional
    for layer in range(LAYERS):
        found[f"mapping.fc{layer}.weight"] = 100 * drawn(STYLE, inputs)
        found[f"mapping.fc{layer}.bias"] = 10 * drawn(STYLE)
        inputs = STYLE
    found |= {"mapping.w_avg": drawn(STYLE), "synthesis.b4.const": drawn(CHANNELS[0], 4, 4)}
    before = CHANNELS[0]
    for level, channels in enumerate(CHANNELS):
        size = 4 << level
        for layer in ("conv0", "conv1") if level else ("conv1",):
            name = f"synthesis.b{size}.{layer}"
            found |= {f"{name}.affine.weight": drawn(before, STYLE), f"{name}.affine.bias": 1 + drawn(before)}
            found |= {f"{name}.weight": drawn(channels, before, 3, 3), f"{name}.bias": drawn(channels)}
            found |= {f"{name}.noise_const": drawn(size, size), f"{name}.noise_strength": drawn(1)[0]}
            found[f"{name}.resample_filter"] = FILTER
            before = channels
        name = f"synthesis.b{size}.torgb"
        found |= {f"{name}.affine.weight": drawn(channels, STYLE), f"{name}.affine.bias": 1 + drawn(channels)}
        found |= {f"{name}.weight": 0.1 * drawn(3, channels, 1, 1), f"{name}.bias": 0.1 * drawn(3)}
    return found


def discriminator(conditional: bool) -> dict[str, Tensor]:
    """Return a discriminator's parameters and buffers by NVIDIA's names."""
    found = {"b16.fromrgb.weight": drawn(CHANNELS[-1], 3, 1, 1), "b16.fromrgb.bias": drawn(CHANNELS[-1])}
    for level in range(LEVELS - 1, 0, -1):
        name, before, after = f"b{4 << level}", CHANNELS[level], CHANNELS[level - 1]
        found |= {f"{name}.conv0.weight": drawn(before, before, 3, 3), f"{name}.conv0.bias": drawn(before)}
        found |= {f"{name}.conv1.weight": drawn(after, before, 3, 3), f"{name}.conv1.bias": drawn(after)}
        found |= {f"{name}.skip.weight": drawn(after, before, 1, 1), f"{name}.conv1.resample_filter": FILTER}
    last = CHANNELS[0]
    if conditional:
        found |= {"mapping.embed.weight": drawn(STYLE, CLASSES), "mapping.embed.bias": drawn(STYLE)}
        for layer in range(LAYERS):
            found |= {f"mapping.fc{layer}.weight": 100 * drawn(STYLE, STYLE), f"mapping.fc{layer}.bias": drawn(STYLE)}
    found |= {"b4.conv.weight": drawn(last, last + 1, 3, 3), "b4.conv.bias": drawn(last)}
    found |= {"b4.fc.weight": drawn(last, last * 16), "b4.fc.bias": drawn(last)}
    scores = STYLE if conditional else 1
    return found | {"b4.out.weight": drawn(scores, last), "b4.out.bias": drawn(scores)}


FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


# --- the equations --------------------------------------------------------------------------------------------------


def linear(p: dict[str, Tensor], name: str, x: Tensor, rate: float = 1.0) -> Tensor:
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    return x @ weight.T * (rate / sqrt(weight.shape[1])) + bias * rate


def active(x: Tensor) -> Tensor:
    return leaky_relu(x, 0.2) * sqrt(2)


def unit(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def filtered(x: Tensor, around: int, gain: float = 1.0) -> Tensor:
    x = pad(x, [around] * 4)
    return conv2d(x.flatten(0, 1)[:, None], FILTER.to(x)[None, None] * gain).unflatten(0, x.shape[:2])[:, :, 0]


def spread(x: Tensor) -> Tensor:
    """Put zeros between the pixels, and behind the last."""
    wide = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    wide[:, :, ::2, ::2] = x
    return wide


def modulated(p: dict[str, Tensor], name: str, x: Tensor, w: Tensor, up: bool = False, rgb: bool = False) -> Tensor:
    styles = linear(p, f"{name}.affine", w)
    out = []
    for sample, style in zip(x, styles, strict=True):
        weight = p[f"{name}.weight"] * style[None, :, None, None]
        if rgb:
            weight = weight / sqrt(weight.shape[1])
        else:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            whole = conv2d(pad(spread(sample[None]), [2, 1, 2, 1]), weight.flip(2, 3))
            out.append(filtered(whole, 1, 4))
        else:
            out.append(conv2d(sample[None], weight, padding=weight.shape[2] // 2))
    return torch.cat(out) + (p[f"{name}.bias"][:, None, None] if rgb else 0)


def mapped(p: dict[str, Tensor], z: Tensor | None, y: Tensor | None) -> Tensor:
    parts = [] if z is None else [unit(z)]
    if y is not None:
        parts.append(unit(linear(p, "mapping.embed", nn.functional.one_hot(y, CLASSES).double())))
    x = torch.cat(parts, 1)
    for layer in range(LAYERS):
        x = active(linear(p, f"mapping.fc{layer}", x, 0.01))
    return x


def images(state: dict[str, Tensor], z: Tensor, y: Tensor | None) -> Tensor:
    """Return what the generator draws, by the equations; not clamped."""
    p = {name: tensor.double() for name, tensor in state.items()}
    w, image = mapped(p, z.double(), y), None
    x = p["synthesis.b4.const"].repeat(len(z), 1, 1, 1)
    for level in range(LEVELS):
        for layer in ("conv0", "conv1") if level else ("conv1",):
            name = f"synthesis.b{4 << level}.{layer}"
            x = modulated(p, name, x, w, up=layer == "conv0")
            x = active(x + p[f"{name}.noise_const"] * p[f"{name}.noise_strength"] + p[f"{name}.bias"][:, None, None])
        added = modulated(p, f"synthesis.b{4 << level}.torgb", x, w, rgb=True)
        image = added if image is None else filtered(pad(spread(image), [2, 1, 2, 1]), 0, 4) + added
    assert image is not None
    return image


def scores(state: dict[str, Tensor], x: Tensor, y: Tensor | None, group: int) -> Tensor:
    """Return the discriminator's scores, by the equations."""
    p = {name: tensor.double() for name, tensor in state.items()}

    def convolved(name: str, x: Tensor, down: bool = False, bias: bool = True) -> Tensor:
        weight = p[f"{name}.weight"]
        weight = weight / sqrt(weight[0].numel())
        if down:
            x = conv2d(filtered(x, 1 + weight.shape[2] // 2), weight)[:, :, ::2, ::2]
        else:
            x = conv2d(x, weight, padding=weight.shape[2] // 2)
        return x + p[f"{name}.bias"][:, None, None] if bias else x

    x = active(convolved("b16.fromrgb", x.double()))
    for level in range(LEVELS - 1, 0, -1):
        name = f"b{4 << level}"
        skip = convolved(f"{name}.skip", x, down=True, bias=False)
        x = (active(convolved(f"{name}.conv1", active(convolved(f"{name}.conv0", x)), down=True)) + skip) / sqrt(2)
    groups = len(x) // group
    deviation = torch.stack([x[first::groups].var(0, correction=0).add(1e-8).sqrt().mean() for first in range(groups)])
    plane = deviation.repeat(group)[:, None, None, None].expand(-1, 1, 4, 4)
    x = active(convolved("b4.conv", torch.cat([x, plane], 1)))
    x = linear(p, "b4.out", active(linear(p, "b4.fc", x.flatten(1))))
    if y is None:
        return x[:, 0]
    return (x * mapped(p, None, y)).sum(1) / sqrt(STYLE)


# --- the files ------------------------------------------------------------------------------------------------------


BUFFERS = (
    *("resample_filter", "noise_const", "w_avg"),
    *("transform", "freqs", "phases", "magnitude_ema", "up_filter", "down_filter"),
)


def modules(tensors: dict[str, Tensor], make: Any, name: str, **attributes: Any) -> nn.Module:
    """Nest tensors by their names into modules: buffers are what NVIDIA's code registers as such."""
    module = make(name, **attributes)
    for key in tensors:
        head, dot, rest = key.partition(".")
        if dot and head not in module._modules:
            inner = {each.removeprefix(f"{head}."): tensors[each] for each in tensors if each.startswith(f"{head}.")}
            module.add_module(head, modules(inner, make, head, **attributes))
        elif not dot and head in BUFFERS:
            module.register_buffer(head, tensors[key])
        elif not dot:
            module.register_parameter(head, nn.Parameter(tensors[key]))
        assert rest or not dot
    return module


@contextmanager
def persistence(source: str) -> Iterator[Any]:
    """Stand in for NVIDIA's torch_utils.persistence; yield what makes a module that is pickled by it."""
    module = types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: Any) -> None:
        exec(meta["module_src"])

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]

    class Persistent(nn.Module):
        def __init__(self, name: str, **attributes: Any) -> None:
            super().__init__()
            self._init_args, self._init_kwargs = (), {}
            self._name = name
            vars(self).update(attributes)

        def __reduce__(self) -> Any:
            fields = list(super().__reduce__())
            meta = {"type": "class", "version": 6, "module_src": source, "class_name": self._name, "state": fields[2]}
            return (_reconstruct_persistent_obj, (meta,), None)

    sys.modules |= {"torch_utils": types.ModuleType("torch_utils"), "torch_utils.persistence": module}
    try:
        yield Persistent
    finally:
        del sys.modules["torch_utils"], sys.modules["torch_utils.persistence"]


def nvlabs(g: dict[str, Tensor], d: dict[str, Tensor], ema: dict[str, Tensor], source: str, group: int = 4) -> bytes:
    """Return a pickle as NVIDIA's training loop writes it."""
    with persistence(source) as make:
        judge = modules(d, make, "Discriminator")
        judge.get_submodule("b4").add_module("mbstd", make("MinibatchStdLayer", group_size=group, num_channels=1))
        content = {
            "training_set_kwargs": {"path": "/data/afhqcat64.zip", "use_labels": False, "max_size": 500},
            "G": modules(g, make, "Generator", z_dim=LATENT),
            "D": judge,
            "G_ema": modules(ema, make, "Generator", z_dim=LATENT),
            "augment_pipe": None,
        }
        return pickle.dumps(content)


def rosinality_generator(g: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a generator by rosinality's names and in its shapes."""
    found = {"input.input": g["synthesis.b4.const"][None]}
    for layer in range(LAYERS):
        found |= {f"style.{layer + 1}.{each}": g[f"mapping.fc{layer}.{each}"] for each in ("weight", "bias")}
    noises = 0
    for level in range(LEVELS):
        pairs = {"conv0": f"convs.{2 * level - 2}", "conv1": f"convs.{2 * level - 1}"} if level else {"conv1": "conv1"}
        for layer, name in pairs.items():
            old = f"synthesis.b{4 << level}.{layer}"
            found |= {f"{name}.conv.weight": g[f"{old}.weight"][None], f"{name}.activate.bias": g[f"{old}.bias"]}
            found |= {f"{name}.conv.modulation.{each}": g[f"{old}.affine.{each}"] for each in ("weight", "bias")}
            found[f"{name}.noise.weight"] = g[f"{old}.noise_strength"].reshape(1)
            found[f"noises.noise_{noises}"] = g[f"{old}.noise_const"][None, None]
            if layer == "conv0":
                found[f"{name}.conv.blur.kernel"] = FILTER * 4
            noises += 1
        name, old = f"to_rgbs.{level - 1}" if level else "to_rgb1", f"synthesis.b{4 << level}.torgb"
        found |= {f"{name}.conv.weight": g[f"{old}.weight"][None], f"{name}.bias": g[f"{old}.bias"].view(1, 3, 1, 1)}
        found |= {f"{name}.conv.modulation.{each}": g[f"{old}.affine.{each}"] for each in ("weight", "bias")}
        if level:
            found[f"{name}.upsample.kernel"] = FILTER * 4
    return found


def rosinality_discriminator(d: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a discriminator by rosinality's names."""
    found = {"convs.0.0.weight": d["b16.fromrgb.weight"], "convs.0.1.bias": d["b16.fromrgb.bias"]}
    for number, size in enumerate((16, 8)):
        name = f"convs.{number + 1}"
        found |= {
            f"{name}.conv1.0.weight": d[f"b{size}.conv0.weight"],
            f"{name}.conv1.1.bias": d[f"b{size}.conv0.bias"],
        }
        found |= {
            f"{name}.conv2.1.weight": d[f"b{size}.conv1.weight"],
            f"{name}.conv2.2.bias": d[f"b{size}.conv1.bias"],
        }
        found |= {f"{name}.skip.1.weight": d[f"b{size}.skip.weight"], f"{name}.conv2.0.kernel": FILTER}
    found |= {"final_conv.0.weight": d["b4.conv.weight"], "final_conv.1.bias": d["b4.conv.bias"]}
    for old, new in (("fc", "final_linear.0"), ("out", "final_linear.1")):
        found |= {f"{new}.{each}": d[f"b4.{old}.{each}"] for each in ("weight", "bias")}
    return found
