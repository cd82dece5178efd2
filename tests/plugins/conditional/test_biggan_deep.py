"""BigGAN-deep: its published weights give the same pictures, its parameters are as many as published, it is trained."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import made, pixels, small
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, linear, max_pool2d, normalize

import ganzoo
from ganzoo import Image, Label, Loop, UserError, load_config
from ganzoo.inference.importing import import_weights
from ganzoo.runs import checkpoint
from ganzoo_exporters.format import Onnx
from ganzoo_plugins.conditional.biggan import BigGANConfig, BigGANGenerator
from ganzoo_plugins.networks.biggan_deep import DeepDownBlock, deep_features
from ganzoo_plugins.networks.projection import ProjectionDiscriminator

REGISTRY = ganzoo.load_registry()
CLASSES, LATENT, CH, STEPS = 3, 5, 8, 6
WIDTHS = [32, 32, 32, 32]  # of 4x4 to 32x32
State = dict[str, Tensor]


def layer(name: str, *shape: int, bias: bool = True) -> State:
    """Return a layer as torch's older spectral norm saves it."""
    weight = torch.randn(*shape)
    left = torch.linalg.svd(weight.flatten(1), full_matrices=False).U
    u = normalize(left[:, 0] + 0.02 * torch.randn(shape[0]), dim=0)  # nearly, as after steps of power iteration
    v = normalize(u @ weight.flatten(1), dim=0)
    found = {f"{name}.weight_orig": weight, f"{name}.weight_u": u, f"{name}.weight_v": v}
    return found | ({f"{name}.bias": torch.randn(shape[0])} if bias else {})


def statistics(name: str, width: int) -> State:
    return {f"{name}.running_means": torch.randn(STEPS, width), f"{name}.running_vars": 0.5 + torch.rand(STEPS, width)}


def generator(attended: int = 4) -> State:
    """Return a file's tensors: 32x32, attention in front of a layer."""
    found = {"embeddings.weight": torch.randn(LATENT, CLASSES)} | layer("generator.gen_z", 16 * WIDTHS[0], 2 * LATENT)
    blocks = [pair for before, after in pairwise(WIDTHS) for pair in ((before, before), (before, after))]
    for place, (before, after) in enumerate(blocks):
        number = place + (place >= attended)
        if place == attended:
            name = f"generator.layers.{place}"
            found[f"{name}.gamma"] = torch.tensor([0.7])
            shapes = {"theta": (before // 8, before), "phi": (before // 8, before), "g": (before // 2, before)}
            for each, shape in {**shapes, "o_conv": (before, before // 2)}.items():
                found |= layer(f"{name}.snconv1x1_{each}", *shape, 1, 1, bias=False)
        name, inner = f"generator.layers.{number}", before // 4
        ends = [(before, inner, 1), (inner, inner, 3), (inner, inner, 3), (inner, after, 1)]
        for k, (i, o, kernel) in enumerate(ends):
            for each in ("scale", "offset"):
                found |= layer(f"{name}.bn_{k}.{each}", i, 2 * LATENT, bias=False)
            found |= statistics(f"{name}.bn_{k}", i) | layer(f"{name}.conv_{k}", o, i, kernel, kernel)
    last = WIDTHS[-1]
    found |= {"generator.bn.weight": torch.randn(last), "generator.bn.bias": torch.randn(last)}
    return found | statistics("generator.bn", last) | layer("generator.conv_to_rgb", last, last, 3, 3)


class Equations:
    """The network in float64; a row of the statistics is that of a truncation."""

    def __init__(self, state: State, row: int) -> None:
        self.state = {name.removeprefix("generator."): each.double() for name, each in state.items()}
        self.row = row

    def layer(self, name: str, x: Tensor) -> Tensor:
        weight, u, v = (self.state[f"{name}.weight_{each}"] for each in ("orig", "u", "v"))
        weight = weight / (u @ weight.reshape(len(weight), -1) @ v)
        bias = self.state.get(f"{name}.bias")
        return linear(x, weight, bias) if x.dim() == 2 else conv2d(x, weight, bias, padding=weight.shape[2] // 2)

    def norm(self, name: str, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        mean, variance = (self.state[f"{name}.running_{each}"][self.row][:, None, None] for each in ("means", "vars"))
        return (x - mean) / (variance + 1e-4).sqrt() * gain[..., None, None] + bias[..., None, None]

    def attended(self, name: str, x: Tensor) -> Tensor:
        theta = self.layer(f"{name}.snconv1x1_theta", x).flatten(2)
        phi, g = (max_pool2d(self.layer(f"{name}.snconv1x1_{each}", x), 2).flatten(2) for each in ("phi", "g"))
        beta = torch.softmax(torch.einsum("nci,ncj->nij", theta, phi), 2)
        found = torch.einsum("ncj,nij->nci", g, beta).reshape(len(x), -1, *x.shape[2:])
        return x + self.state[f"{name}.gamma"] * self.layer(f"{name}.snconv1x1_o_conv", found)

    def images(self, z: Tensor, y: Tensor) -> Tensor:
        code = torch.cat([z.double(), self.state["embeddings.weight"].T[y]], 1)
        x = self.layer("gen_z", code).reshape(len(z), 4, 4, -1).permute(0, 3, 1, 2)
        up, number = False, 0
        while any(name.startswith(f"layers.{number}.") for name in self.state):
            name = f"layers.{number}"
            number += 1
            if f"{name}.gamma" in self.state:
                x = self.attended(name, x)
                continue
            inner = x
            for k in range(4):
                gain, bias = 1 + self.layer(f"{name}.bn_{k}.scale", code), self.layer(f"{name}.bn_{k}.offset", code)
                inner = self.norm(f"{name}.bn_{k}", inner, gain, bias).relu()
                inner = self.layer(f"{name}.conv_{k}", doubled(inner) if up and k == 1 else inner)
            x = x[:, : inner.shape[1]]
            x = inner + (doubled(x) if up else x)
            up = not up
        x = self.norm("bn", x, self.state["bn.weight"], self.state["bn.bias"]).relu()
        return self.layer("conv_to_rgb", x)[:, :3].tanh()


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def imported(tmp_path: Path, state: Any, **options: Any) -> ganzoo.Run:
    torch.save(state, tmp_path / "pytorch_model.bin")
    return import_weights(
        tmp_path / "pytorch_model.bin", "hf-biggan", tmp_path / "run", license="for tests", options=options
    )


@pytest.mark.parametrize("truncation", [1.0, 0.4])
def test_pictures_are_those_of_the_file(truncation: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = generator()
    run = imported(tmp_path, state, **({"truncation": truncation} if truncation < 1 else {}))
    network, _ = run.load(REGISTRY)
    z, y = torch.randn(5, LATENT), torch.tensor([0, 1, 2, 0, 1])
    expected = Equations(state, round(truncation * (STEPS - 1))).images(z, y)
    assert expected.std() > 0.1
    assert (network(z, y) - expected).abs().max() < 1e-5
    # In training the singular vectors of the last layer, of which a part was taken, stay what they are.
    head = network.head[2]  # type: ignore[union-attr, index]
    before = head.weight.clone()
    assert (head.train().weight - before).abs().max() < 1e-5 * before.abs().max()
    card = (run.path / "README.md").read_text()
    assert f"sample it with --truncation {truncation:g}." in card
    assert run.document()["model"]["attention"] == 16
    drawn = ganzoo.load(run.path).latents(9, truncation=truncation)  # multiplied, as its authors' code does
    np.testing.assert_array_equal(drawn, np.float32(truncation) * ganzoo.load(run.path).latents(9))


def test_what_is_no_such_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    state = generator()
    refused: dict[str, Any] = {
        "no tensors by name": {"generator": state},
        "it has no layers": {"embeddings.weight": torch.zeros(1)},
        "it has no bn.running_means": {k: each for k, each in state.items() if not k.startswith("generator.bn.")},
        "not two blocks for each size": generator(attended=3),
        "not those of BigGAN's tables": state | {"generator.layers.2.bn_0.running_means": torch.zeros(STEPS, 33)},
        "does not fit biggan: generator": state | {"generator.other": torch.zeros(1)},
    }
    for said, content in refused.items():
        with pytest.raises(UserError, match=said):
            imported(tmp_path, content)
    for truncation in (0.5, 0.0, 1.2):
        with pytest.raises(UserError, match=r"up to 1 in steps of 0\.2, not for"):
            imported(tmp_path, state, truncation=truncation)
    assert not (tmp_path / "run").exists()


def test_biggan_deep_128_has_the_published_numbers_of_parameters() -> None:
    """The published generator returns 128 channels, and uses three: it has 50,388,609."""
    image = Image(3, 128, 128, range=(-1, 1))
    config = BigGANConfig(width=128, chunk_dim=128, embedding_dim=128, attention=64, deep=True)
    with torch.device("meta"):
        network = BigGANGenerator(config, image, (Label(1000),))
        features, width = deep_features(image, 128, 64)
        judge = ProjectionDiscriminator(features, width, image, (Label(1000),))
    counts = [sum(parameter.numel() for parameter in each.parameters()) for each in (network, judge)]
    assert counts == [50_388_609 - 125 * (128 * 9 + 1), 34_590_210]


@torch.no_grad()
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("outputs", [8, 12])
def test_a_block_of_the_discriminator_against_the_figure(down: bool, outputs: int) -> None:
    block = DeepDownBlock(8, outputs, down=down).double()
    x = torch.randn(3, 8, 6, 6).double()
    inner, shortcut = x, avg_pool2d(x, 2) if down else x
    for index, convolution in enumerate(block.convolutions):
        inner = inner.clamp_min(0)
        if down and index == 3:
            inner = (inner[:, :, ::2] + inner[:, :, 1::2]) / 2
            inner = (inner[..., ::2] + inner[..., 1::2]) / 2
        inner = conv2d(inner, convolution.weight, convolution.bias, padding=(0, 1, 1, 0)[index])  # type: ignore[arg-type]
    assert inner.shape[1] == outputs
    torch.testing.assert_close(block(x)[:, :8], (inner[:, :8] + shortcut))
    if outputs > 8:
        assert block.more is not None
        more = torch.einsum("oi,nihw->nohw", block.more.weight[:, :, 0, 0], shortcut) + block.more.bias[:, None, None]
        torch.testing.assert_close(block(x)[:, 8:], inner[:, 8:] + more)


@pytest.mark.slow
def test_it_is_trained_and_exported(tmp_path: Path) -> None:
    dataset = made(pixels(1), Label(3))
    config = load_config(REGISTRY, "biggan", sets=[*small("biggan"), "batch_size=4", "model.deep=true"])
    checkpoint.seed_random(0)
    loop = Loop(config.build_trainer(dataset.spec), dataset, config.train)
    loop.advance()
    loop.advance()
    assert not loop.nonfinite()
    document = Onnx().export(loop.exports()["generator"], tmp_path / "model.onnx", {"model": "biggan"})
    assert document["parity"]["max_difference"] < 1e-5
