"""Published weights of BigGAN: the same pictures and scores as by the equations, and files that are refused."""

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, max_pool2d

import ganzoo
from ganzoo import UserError, cli
from ganzoo.inference.importing import import_weights

REGISTRY = ganzoo.load_registry()
CLASSES, EMBEDDING, CHUNK, CH = 3, 4, 2, 2
UP = {32: [4, 4, 4, 4], 64: [16, 16, 8, 4, 2]}
DOWN = {32: [4, 4, 4, 4]}
State = dict[str, Tensor]


def layer(name: str, *shape: int, bias: bool = True, normalized: bool = True) -> State:
    """Return a layer under spectral norm as BigGAN-PyTorch saves it, the singular value only for its log."""
    found = {f"{name}.weight": torch.randn(*shape)}
    found |= {f"{name}.bias": torch.randn(shape[0])} if bias else {}
    return found | ({f"{name}.u0": torch.randn(1, shape[0]), f"{name}.sv0": torch.ones(1)} if normalized else {})


def attention(name: str, c: int, **options: Any) -> State:
    shapes = {"theta": (c // 8, c), "phi": (c // 8, c), "g": (c // 2, c), "o": (c, c // 2)}
    found = {f"{name}.gamma": torch.tensor(0.7)}
    for each, shape in shapes.items():
        found |= layer(f"{name}.{each}", *shape, 1, 1, bias=False, **options)
    return found


def generator(size: int, side: int, **options: Any) -> State:
    widths = [CH * multiple for multiple in UP[size]]
    found = {"shared.weight": torch.randn(CLASSES, EMBEDDING)} | layer("linear", 16 * widths[0], CHUNK, **options)
    for block, (before, after) in enumerate(pairwise(widths)):
        name = f"blocks.{block}.0"
        found |= layer(f"{name}.conv1", after, before, 3, 3, **options) | layer(
            f"{name}.conv2", after, after, 3, 3, **options
        )
        found |= layer(f"{name}.conv_sc", after, before, 1, 1, **options)
        for norm, width in (("bn1", before), ("bn2", after)):
            for part in ("gain", "bias"):
                found |= layer(f"{name}.{norm}.{part}", width, EMBEDDING + CHUNK, bias=False, **options)
            found |= statistics(f"{name}.{norm}", width)
        if 8 << block == side:
            found |= attention(f"blocks.{block}.1", after, **options)
    found |= {"output_layer.0.gain": torch.randn(widths[-1]), "output_layer.0.bias": torch.randn(widths[-1])}
    return found | statistics("output_layer.0", widths[-1]) | layer("output_layer.2", 3, widths[-1], 3, 3, **options)


def statistics(name: str, width: int) -> State:
    return {f"{name}.stored_mean": torch.randn(width), f"{name}.stored_var": 0.5 + torch.rand(width)}


def discriminator(size: int, side: int) -> State:
    widths = [3, *(CH * multiple for multiple in DOWN[size])]
    found = layer("linear", 1, widths[-1]) | layer("embed", CLASSES, widths[-1], bias=False)
    for block, (before, after) in enumerate(pairwise(widths)):
        name = f"blocks.{block}.0"
        found |= layer(f"{name}.conv1", after, before, 3, 3) | layer(f"{name}.conv2", after, after, 3, 3)
        if before != after or block < 2:
            found |= layer(f"{name}.conv_sc", after, before, 1, 1)
        if (size // 2) >> block == side:
            found |= attention(f"blocks.{block}.1", after)
    return found


class Equations:
    """The networks in float64; a weight's norm is that of W v, where v is u W made a unit vector."""

    def __init__(self, state: State) -> None:
        self.state = {name: each.double() for name, each in state.items()}

    def weight(self, name: str) -> Tensor:
        weight, u = self.state[f"{name}.weight"], self.state.get(f"{name}.u0")
        if u is None:
            return weight
        rows = weight.reshape(len(weight), -1)
        v = u[0] @ rows
        return weight / (rows @ (v / v.norm())).norm()

    def layer(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.weight(name), self.state.get(f"{name}.bias")
        return linear(x, weight, bias) if x.dim() == 2 else conv2d(x, weight, bias, padding=weight.shape[2] // 2)

    def norm(self, name: str, x: Tensor, code: Tensor) -> Tensor:
        gain, bias = self.layer(f"{name}.gain", code), self.layer(f"{name}.bias", code)
        mean, variance = self.state[f"{name}.stored_mean"], self.state[f"{name}.stored_var"]
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return x * (1 + gain)[:, :, None, None] + bias[:, :, None, None]

    def attended(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.gamma" not in self.state:
            return x
        theta = self.layer(f"{name}.theta", x).flatten(2)
        phi, g = (max_pool2d(self.layer(f"{name}.{each}", x), 2).flatten(2) for each in ("phi", "g"))
        beta = torch.softmax(torch.einsum("nci,ncj->nij", theta, phi), 2)
        found = torch.einsum("ncj,nij->nci", g, beta).reshape(len(x), -1, *x.shape[2:])
        return self.state[f"{name}.gamma"] * self.layer(f"{name}.o", found) + x

    def images(self, z: Tensor, y: Tensor) -> Tensor:
        e, parts = self.state["shared.weight"][y], z.double().split(CHUNK, 1)
        x = self.layer("linear", parts[0]).reshape(len(z), -1, 4, 4)
        for block, part in enumerate(parts[1:]):
            name, code = f"blocks.{block}.0", torch.cat([e, part], 1)
            inner = doubled(self.norm(f"{name}.bn1", x, code).relu())
            inner = self.norm(f"{name}.bn2", self.layer(f"{name}.conv1", inner), code).relu()
            x = self.layer(f"{name}.conv2", inner) + self.layer(f"{name}.conv_sc", doubled(x))
            x = self.attended(f"blocks.{block}.1", x)
        norm = [self.state[f"output_layer.0.{each}"] for each in ("stored_mean", "stored_var", "gain", "bias")]
        return self.layer("output_layer.2", batch_norm(x, *norm).relu()).tanh()

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        x = x.double()
        for block in range(4):
            name = f"blocks.{block}.0"
            inner = self.layer(f"{name}.conv1", x.relu() if block else x).relu()
            inner = self.layer(f"{name}.conv2", inner)
            short = self.layer(f"{name}.conv_sc", x) if f"{name}.conv_sc.weight" in self.state else x
            x = avg_pool2d(inner, 2) + avg_pool2d(short, 2) if block < 2 else inner + short
            x = self.attended(f"blocks.{block}.1", x)
        features = x.relu().sum((2, 3))
        return self.layer("linear", features)[:, 0] + (self.weight("embed")[y] * features).sum(1)


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def imported(tmp_path: Path, state: Any, kind: str = "biggan-pytorch", **options: Any) -> ganzoo.Run:
    torch.save(state, tmp_path / "G_ema.pth")
    return import_weights(tmp_path / "G_ema.pth", kind, tmp_path / "run", license="for tests", options=options)


@pytest.mark.parametrize(("size", "side", "normalized"), [(32, 16, True), (64, 32, True), (32, 0, False)])
def test_pictures_are_those_of_the_file(size: int, side: int, normalized: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    g = generator(size, side, normalized=normalized)
    run = imported(tmp_path, g)
    network, _ = run.load(REGISTRY)
    z, y = torch.randn(5, CHUNK * len(UP[size])), torch.tensor([0, 1, 2, 0, 1])
    expected = Equations(g).images(z, y)
    assert expected.std() > 0.1
    assert (network(z, y) - expected).abs().max() < 1e-5
    assert "The discriminator is not that of the file" in (run.path / "README.md").read_text()
    settings = run.document()["model"]
    assert [settings[name] for name in ("width", "attention", "spectral_norm")] == [CH, side, normalized]


def test_scores_are_those_of_the_discriminator_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    g, d = generator(32, 16), discriminator(32, 16)
    for name, state in (("G_ema", g), ("D", d)):
        torch.save(state, tmp_path / f"{name}.pth")
    command = ["import", str(tmp_path / "G_ema.pth"), "--as", "biggan-pytorch", "--out", str(tmp_path / "run")]
    command += ["--license", "for tests", "--set", f"discriminator={tmp_path / 'D.pth'}"]
    cli.main(command)
    run = ganzoo.Run(Path(capsys.readouterr().out.strip()))
    judge, _ = run.load(REGISTRY, "discriminator")
    x, y = torch.rand(5, 3, 32, 32) * 2 - 1, torch.tensor([0, 1, 2, 0, 1])
    expected = Equations(d).scores(x, y)
    assert (judge(x, y) - expected).abs().max() < 1e-5 * expected.abs().max()
    card = (run.path / "README.md").read_text()
    assert "The discriminator is that of D.pth." in card
    assert "random weights" not in card


def test_what_is_no_such_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    g = generator(32, 16)
    refused: dict[str, Any] = {
        "no tensors by name": {"G": g},
        "it has no blocks.0.0.bn1.gain.weight": discriminator(32, 16),
        "it has no output_layer.2.weight": {k: each for k, each in g.items() if k != "output_layer.2.weight"},
        "no class embedding that they share": {k: each for k, each in g.items() if k != "shared.weight"},
        "latents are not hierarchical": g | {"shared.weight": torch.zeros(CLASSES, EMBEDDING + CHUNK)},
        "first map is not 4x4": g | {"linear.weight": torch.zeros(36 * 8, CHUNK)},
        r"self-attention at the sizes \[8, 16\]": g | attention("blocks.0.1", 8),
        "not those of BigGAN's tables": g | {"blocks.1.0.conv2.weight": torch.zeros(9, 8, 3, 3)},
        "does not fit biggan: generator": g | {"other.weight": torch.zeros(1)},
        "numbers that are not finite": g | {"linear.weight": torch.full_like(g["linear.weight"], torch.nan)},
    }
    for said, content in refused.items():
        with pytest.raises(UserError, match=said):
            imported(tmp_path, content)
    with pytest.raises(UserError, match="no option 'discriminater'; did you mean 'discriminator'"):
        imported(tmp_path, g, discriminater="D.pth")
    with pytest.raises(UserError, match=r"cannot read .*D\.pth|no file .*D\.pth|D\.pth.*not"):
        imported(tmp_path, g, discriminator=str(tmp_path / "D.pth"))
    (tmp_path / "D.pth").write_bytes(pickle.dumps({"linear.weight": print}))
    with pytest.raises(UserError, match=r"builtins\.print"):
        imported(tmp_path, g, discriminator=str(tmp_path / "D.pth"))
    assert not (tmp_path / "run").exists()
