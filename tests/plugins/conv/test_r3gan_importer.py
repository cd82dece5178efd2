"""R3GAN's published pickles: the same pictures and scores as by the authors' equations."""

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, pad

import ganzoo
from ganzoo import UserError
from ganzoo.inference.importing import import_weights

LATENT, WIDTHS, BLOCKS, EXPANSION, GROUP = 5, [8, 8, 4], 2, 2, 4
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
RESIDUAL = ["LinearLayer1", "LinearLayer2", "LinearLayer3"]


def block(name: str, width: int) -> dict[str, Tensor]:
    inner = width * EXPANSION
    shapes = {"LinearLayer1": (inner, width, 1, 1), "LinearLayer2": (inner, GROUP, 3, 3)}
    shapes["LinearLayer3"] = (width, inner, 1, 1)
    found = {f"{name}.{layer}.Layer.weight": 0.3 * torch.randn(shape) for layer, shape in shapes.items()}
    return found | {f"{name}.NonLinearity{each}.Bias": torch.randn(inner) for each in (1, 2)}


def transition(name: str, before: int, after: int) -> dict[str, Tensor]:
    found = {f"{name}.Resampler.Kernel": FILTER}
    return found if before == after else found | {f"{name}.LinearLayer.Layer.weight": torch.randn(after, before, 1, 1)}


def generator(classes: int = 0) -> dict[str, Tensor]:
    found = {"Model.EmbeddingLayer.weight": torch.randn(LATENT, classes)} if classes else {}
    found |= {"Model.AggregationLayer.Layer.weight": 0.2 * torch.randn(3, WIDTHS[-1], 1, 1)}
    for stage, width in enumerate(WIDTHS):
        name = f"Model.MainLayers.{stage}.Layers"
        if stage:
            found |= transition(f"{name}.0", WIDTHS[stage - 1], width)
        else:
            found[f"{name}.0.Basis"] = torch.randn(width, 4, 4)
            found[f"{name}.0.LinearLayer.weight"] = torch.randn(width, LATENT * (2 if classes else 1))
        for layer in range(1, BLOCKS + 1):
            found |= block(f"{name}.{layer}", width)
    return found


def discriminator(classes: int = 0) -> dict[str, Tensor]:
    widths = WIDTHS[::-1]
    outputs = widths[-1] if classes else 1
    found = {"Model.EmbeddingLayer.weight": torch.randn(outputs, classes)} if classes else {}
    found |= {"Model.ExtractionLayer.Layer.weight": torch.randn(widths[0], 3, 1, 1)}
    for stage, width in enumerate(widths):
        name = f"Model.MainLayers.{stage}.Layers"
        for layer in range(BLOCKS):
            found |= block(f"{name}.{layer}", width)
        if stage < len(widths) - 1:
            found |= transition(f"{name}.{BLOCKS}", width, widths[stage + 1])
        else:
            found[f"{name}.{BLOCKS}.Basis.weight"] = torch.randn(width, 1, 4, 4)
            found[f"{name}.{BLOCKS}.LinearLayer.weight"] = torch.randn(outputs, width)
    return found


def residual(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    y = x
    for number, layer in enumerate(RESIDUAL, 1):
        weight = p[f"{name}.{layer}.Layer.weight"]
        y = conv2d(y, weight, padding=weight.shape[2] // 2, groups=y.shape[1] // weight.shape[1])
        if number < 3:
            y = leaky_relu(y + p[f"{name}.NonLinearity{number}.Bias"][:, None, None], 0.2)
    return x + y


def filtered(x: Tensor) -> Tensor:
    return conv2d(x.flatten(0, 1)[:, None], FILTER.to(x)[None, None]).unflatten(0, x.shape[:2])[:, :, 0]


def images(state: dict[str, Tensor], z: Tensor, y: Tensor | None = None) -> Tensor:
    """Return what the generator draws, by the authors' code: convolution, zeros between pixels, filter."""
    p = {name.removeprefix("Model.MainLayers."): each.double() for name, each in state.items()}
    z = z.double()
    if y is not None:
        z = torch.cat([z, p["Model.EmbeddingLayer.weight"].T[y]], 1)
    x = p["0.Layers.0.Basis"] * (z @ p["0.Layers.0.LinearLayer.weight"].T)[:, :, None, None]
    for stage in range(len(WIDTHS)):
        if stage:
            if f"{stage}.Layers.0.LinearLayer.Layer.weight" in p:
                x = conv2d(x, p[f"{stage}.Layers.0.LinearLayer.Layer.weight"])
            wide = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
            wide[:, :, ::2, ::2] = x
            x = 4 * filtered(pad(wide, [2, 1, 2, 1]))
        for layer in range(1, BLOCKS + 1):
            x = residual(p, f"{stage}.Layers.{layer}", x)
    return conv2d(x, p["Model.AggregationLayer.Layer.weight"])


def scores(state: dict[str, Tensor], x: Tensor, y: Tensor | None = None) -> Tensor:
    p = {name.removeprefix("Model.MainLayers."): each.double() for name, each in state.items()}
    x = conv2d(x.double(), p["Model.ExtractionLayer.Layer.weight"])
    for stage in range(len(WIDTHS)):
        for layer in range(BLOCKS):
            x = residual(p, f"{stage}.Layers.{layer}", x)
        name = f"{stage}.Layers.{BLOCKS}"
        if stage < len(WIDTHS) - 1:
            x = filtered(pad(x, [1] * 4))[:, :, ::2, ::2]
            if f"{name}.LinearLayer.Layer.weight" in p:
                x = conv2d(x, p[f"{name}.LinearLayer.Layer.weight"])
    x = (x * p[f"{name}.Basis.weight"][:, 0]).sum((2, 3))
    x = x @ p[f"{name}.LinearLayer.weight"].T
    return x[:, 0] if y is None else (x * p["Model.EmbeddingLayer.weight"].T[y]).sum(1)


def written(monkeypatch: pytest.MonkeyPatch, **networks: dict[str, Tensor]) -> bytes:
    """Return a pickle of whole modules, of classes of a module that only the authors have."""
    foreign = types.ModuleType("R3GAN.Networks")

    class Part(nn.Module):
        DataType = torch.bfloat16

    Part.__module__, Part.__qualname__ = "R3GAN.Networks", "Part"
    foreign.Part = Part  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "R3GAN", types.ModuleType("R3GAN"))
    monkeypatch.setitem(sys.modules, "R3GAN.Networks", foreign)

    def nested(tensors: dict[str, Tensor]) -> nn.Module:
        module = Part()
        module.DataType = torch.bfloat16
        for key in tensors:
            head, dot, _ = key.partition(".")
            if dot and head not in module._modules:
                inner = {name.partition(".")[2]: tensors[name] for name in tensors if name.startswith(f"{head}.")}
                module.add_module(head, nested(inner))
            elif not dot and head == "Kernel":
                module.register_buffer(head, tensors[key])
            elif not dot:
                module.register_parameter(head, nn.Parameter(tensors[key]))
        return module

    content: dict[str, Any] = {name: nested(each) for name, each in networks.items()}
    return pickle.dumps({**content, "training_set_kwargs": {"path": "./FFHQ-64x64.zip"}, "cur_nimg": 1000})


@pytest.mark.parametrize("classes", [0, 3])
def test_pickles_of_the_authors(classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    g, ema, d = generator(classes), generator(classes), discriminator(classes)
    y = (torch.arange(4) % classes,) if classes else ()
    (tmp_path / "file.pkl").write_bytes(written(monkeypatch, G=g, G_ema=ema, D=d))
    with pytest.raises(UserError, match="give their license with --license"):
        import_weights(tmp_path / "file.pkl", "r3gan", tmp_path / "run")
    run = import_weights(tmp_path / "file.pkl", "r3gan", tmp_path / "run", license="CC BY-NC 4.0")
    assert run.document()["data_spec"]["name"] == "FFHQ-64x64"
    registry = ganzoo.load_registry()
    network, _ = run.load(registry)
    z, x = torch.randn(4, LATENT), torch.rand(4, 3, 16, 16)
    expected = images(ema, z, *y)
    network.limits = (-1e9, 1e9)  # type: ignore[assignment]
    assert (network(z, *y) - expected).abs().max() < 1e-5 * expected.abs().max()
    expected = scores(d, x, *y)
    assert (run.load(registry, "discriminator")[0](x, *y) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_other_pickles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ema = generator()
    kernel = "Model.MainLayers.1.Layers.0.Resampler.Kernel"
    without = {name: each for name, each in ema.items() if "LinearLayer2" not in name}
    for said, content in {
        "it has no G_ema": pickle.dumps({}),
        "its embedding has 2 numbers": written(
            monkeypatch, G_ema=ema | {"Model.EmbeddingLayer.weight": torch.ones(2, 2)}
        ),
        "has no AggregationLayer": written(monkeypatch, G_ema={"Model.a.b": torch.ones(2)}),
        "it has no MainLayers.0.Layers.1.LinearLayer2": written(monkeypatch, G_ema=without),
        r"is not \[1, 3, 3, 1\]": written(monkeypatch, G_ema=ema | {kernel: torch.ones(3, 3)}),
        "has Model.Other, which": written(monkeypatch, G_ema=ema | {"Model.Other": torch.ones(3)}),
    }.items():
        (tmp_path / "file.pkl").write_bytes(content)
        with pytest.raises(UserError, match=said):
            import_weights(tmp_path / "file.pkl", "r3gan", tmp_path / "run", license="MIT")
