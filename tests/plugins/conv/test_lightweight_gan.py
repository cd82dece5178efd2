"""lightweight_gan: networks and published weights against the layout and the equations of lightweight-gan."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import (
    adaptive_avg_pool2d,
    avg_pool2d,
    batch_norm,
    conv2d,
    conv_transpose2d,
    gelu,
    glu,
    interpolate,
    leaky_relu,
    mse_loss,
    pad,
    pixel_shuffle,
    silu,
    unfold,
)

import ganzoo
from ganzoo import Image, UserError
from ganzoo.inference.importing import import_weights
from ganzoo_plugins.networks.lightweight import LightweightConfig, LightweightDiscriminator, LightweightGenerator

LATENT, BASE, MOST, HEADS = 6, 512, 8, 8
Tensors = dict[str, Tensor]


class Layout:
    """Makes random tensors of a network, by the names that lightweight-gan gives them."""

    def __init__(self) -> None:
        self.tensors: Tensors = {}

    def convolution(self, name: str, before: int, after: int, size: int = 1, *, bias: bool = True) -> None:
        self.tensors[f"{name}.weight"] = torch.randn(after, before, size, size) / math.sqrt(before * size**2)
        if bias:
            self.tensors[f"{name}.bias"] = torch.randn(after) / 4

    def norm(self, name: str, channels: int) -> None:
        self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"] = 1 + torch.randn(2, channels) / 4
        self.tensors[f"{name}.running_mean"] = torch.randn(channels) / 4
        self.tensors[f"{name}.running_var"] = 0.5 + torch.rand(channels)
        self.tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def attention(self, name: str, channels: int) -> None:
        inner = 64 * HEADS
        self.tensors[f"{name}.norm.g"] = 1 + torch.randn(1, channels, 1, 1) / 4
        self.tensors[f"{name}.norm.b"] = torch.randn(1, channels, 1, 1) / 4
        self.convolution(f"{name}.fn.to_lin_q", channels, inner, bias=False)
        self.convolution(f"{name}.fn.to_lin_kv.net.0", 1, channels, 3, bias=False)
        self.convolution(f"{name}.fn.to_lin_kv.net.1", channels, 2 * inner, bias=False)
        self.convolution(f"{name}.fn.to_q", channels, inner, bias=False)
        self.convolution(f"{name}.fn.to_kv", channels, 2 * inner, bias=False)
        self.convolution(f"{name}.fn.to_out", 2 * inner, channels)

    def down(self, name: str, before: int, after: int) -> None:
        for branch in (0, 1):
            self.tensors[f"{name}.branches.{branch}.0.f"] = torch.tensor([1.0, 2.0, 1.0])
        self.convolution(f"{name}.branches.0.1.1", 4 * before, after)
        self.convolution(f"{name}.branches.0.3", after, after, 3)
        self.convolution(f"{name}.branches.1.2", before, after)

    def decoder(self, name: str, channels: int, image: int) -> None:
        for index in range(4):
            self.convolution(f"{name}.layers.{index}.0.net.0", channels, 4 * channels)
            self.convolution(f"{name}.layers.{index}.1", channels, channels if index < 3 else 2 * image, 3)
            channels //= 2


def width(level: int) -> int:
    return min(BASE >> level, MOST)


def generator(level: int, attention: int) -> Tensors:
    made = Layout()
    made.tensors["initial_conv.0.weight"] = torch.randn(LATENT, 2 * LATENT, 4, 4) / math.sqrt(LATENT)
    made.tensors["initial_conv.0.bias"] = torch.randn(2 * LATENT) / 4
    made.norm("initial_conv.1", 2 * LATENT)
    widths = [LATENT, *(3 if each >= 8 else width(each) for each in range(2, level))]
    for index in range(level - 2):
        before, after, name = widths[index], widths[index + 1], f"layers.{index}.0"
        made.convolution(f"{name}.0.net.0", before, 4 * before)
        made.tensors[f"{name}.1.f"] = torch.tensor([1.0, 2.0, 1.0])
        made.convolution(f"{name}.2.1", before, 2 * after, 4)
        made.tensors[f"{name}.3.weight"] = torch.randn(1)
        made.norm(f"{name}.4", 2 * after)
        if index + 2 >= 3 and index + 6 <= level:
            excited = widths[index + 4]
            made.convolution(f"layers.{index}.1.to_k", after, 1)
            made.convolution(f"layers.{index}.1.net.0", after, max(3, excited // 2))
            made.convolution(f"layers.{index}.1.net.2", max(3, excited // 2), excited)
        if 4 << index == attention:
            made.attention(f"layers.{index}.2", before)
    made.convolution("out_conv", widths[-1], 3, 3)
    return made.tensors


def discriminator(level: int, attention: int, side: int) -> Tensors:
    made, first = Layout(), min(8, level)
    widths = [width(each) for each in range(first, 2, -1)]
    if level <= 8:
        widths[0] = 3
    for index in range(level - 8):
        made.convolution(f"non_residual_layers.{index}.1", 3, widths[0] if index == level - 9 else 3, 4)
    for index in range(len(widths) - 1):
        made.down(f"residual_layers.{index}.0", widths[index], widths[index + 1])
        if 1 << (first - index) == attention:
            made.attention(f"residual_layers.{index}.1", widths[index])
    start = 0 if side == 5 else 1
    made.convolution(f"to_logits.{start}", widths[-1], widths[-1], 1 if side == 5 else 3)
    made.convolution(f"to_logits.{start + 2}", widths[-1], 1, 4)
    made.convolution("to_shape_disc_out.0", 3, 64, 3)
    made.attention("to_shape_disc_out.1.fn", 64)
    made.down("to_shape_disc_out.2", 64, 32)
    made.attention("to_shape_disc_out.3.fn", 32)
    made.convolution("to_shape_disc_out.5", 32, 1, 4)
    made.decoder("decoder1", widths[-1], 3)
    if level >= 9:
        made.decoder("decoder2", widths[-2], 3)
    return made.tensors


class Reference:
    """The same networks by their equations, in float64."""

    def __init__(self, tensors: Tensors) -> None:
        self.p = {name: each.double() for name, each in tensors.items()}

    def convolution(self, x: Tensor, name: str, **options: int) -> Tensor:
        return conv2d(x, self.p[f"{name}.weight"], self.p.get(f"{name}.bias"), **options)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.p[f"{name}.{each}"] for each in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(x, mean, var, weight, bias)

    def attention(self, x: Tensor, name: str) -> Tensor:
        mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        y = (x - mean) / (var + 1e-5).sqrt() * self.p[f"{name}.norm.g"] + self.p[f"{name}.norm.b"]
        (n, channels, h, w), name = y.shape, f"{name}.fn"
        inside = self.convolution(y, f"{name}.to_lin_kv.net.0", padding=1, groups=channels)
        key, value = self.convolution(inside, f"{name}.to_lin_kv.net.1").chunk(2, 1)
        parts = (self.convolution(y, f"{name}.to_lin_q"), key, value)
        q, k, v = (part.reshape(n * HEADS, 64, h * w) for part in parts)
        everywhere = torch.einsum("bdn,bde->ben", q.softmax(1) / 8, torch.einsum("bdn,ben->bde", k.softmax(2), v))
        everywhere = gelu(everywhere.reshape(n, -1, h, w))
        key, value = self.convolution(y, f"{name}.to_kv").chunk(2, 1)
        k, v = (unfold(each, 3, padding=1).reshape(n * HEADS, 64, 9, h * w) for each in (key, value))
        q = self.convolution(y, f"{name}.to_q").reshape(n * HEADS, 64, h * w) / 8
        weights = torch.einsum("bdn,bdjn->bjn", q, k).softmax(1)
        near = torch.einsum("bjn,bdjn->bdn", weights, v).reshape(n, -1, h, w)
        return x + self.convolution(torch.cat([everywhere, near], 1), f"{name}.to_out")

    def down(self, x: Tensor, name: str) -> Tensor:
        x = blurred(x)
        n, c, h, w = x.shape
        y = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
        y = leaky_relu(self.convolution(y, f"{name}.branches.0.1.1"), 0.1)
        y = leaky_relu(self.convolution(y, f"{name}.branches.0.3", padding=1), 0.1)
        return y + leaky_relu(self.convolution(avg_pool2d(x, 2), f"{name}.branches.1.2"), 0.1)

    def decoder(self, x: Tensor, name: str) -> Tensor:
        for index in range(4):
            x = pixel_shuffle(silu(self.convolution(x, f"{name}.layers.{index}.0.net.0")), 2)
            x = glu(self.convolution(x, f"{name}.layers.{index}.1", padding=1), 1)
        return x

    def images(self, z: Tensor, level: int) -> Tensor:
        p = self.p
        x = conv_transpose2d(z[:, :, None, None].double(), p["initial_conv.0.weight"], p["initial_conv.0.bias"])
        x = glu(self.norm(x, "initial_conv.1"), 1)
        x = x / x.norm(dim=1, keepdim=True)
        factors: Tensors = {}
        for index in range(level - 2):
            if f"layers.{index}.2.norm.g" in p:
                x = self.attention(x, f"layers.{index}.2")
            name = f"layers.{index}.0"
            x = blurred(pixel_shuffle(silu(self.convolution(x, f"{name}.0.net.0")), 2))
            x = glu(self.norm(self.convolution(pad(x, [2, 1, 2, 1]), f"{name}.2.1"), f"{name}.4"), 1)
            if f"layers.{index}.1.to_k.weight" in p:
                name = f"layers.{index}.1"
                weights = self.convolution(x, f"{name}.to_k").flatten(2).softmax(-1)
                y = torch.einsum("bin,bcn->bci", weights, x.flatten(2))[..., None]
                y = leaky_relu(self.convolution(y, f"{name}.net.0"), 0.1)
                factors[str(index + 6)] = self.convolution(y, f"{name}.net.2").sigmoid()
            if str(index + 3) in factors:
                x = x * factors[str(index + 3)]
        return self.convolution(x, "out_conv", padding=1)

    def maps(self, x: Tensor, level: int) -> list[Tensor]:
        for index in range(level - 8):
            x = self.convolution(blurred(x), f"non_residual_layers.{index}.1", stride=2, padding=1)
            x = leaky_relu(x, 0.1)
        maps = [x]
        for index in range(min(level, 8) - 3):
            if f"residual_layers.{index}.1.norm.g" in self.p:
                x = self.attention(x, f"residual_layers.{index}.1")
            x = self.down(x, f"residual_layers.{index}.0")
            maps.append(x)
        return maps[-2:]

    def scores(self, image: Tensor, level: int, side: int) -> Tensor:
        x = self.maps(image, level)[-1]
        if side == 5:
            x = self.convolution(x, "to_logits.0")
        else:
            x = self.convolution(blurred(x), "to_logits.1", stride=2, padding=1)
        whole = self.convolution(leaky_relu(x, 0.1), "to_logits.2" if side == 5 else "to_logits.3").flatten(1)
        x = self.convolution(interpolate(image, (32, 32)), "to_shape_disc_out.0", padding=1)
        x = self.down(self.attention(x, "to_shape_disc_out.1.fn"), "to_shape_disc_out.2")
        x = adaptive_avg_pool2d(self.attention(x, "to_shape_disc_out.3.fn"), (4, 4))
        return torch.cat([whole, self.convolution(x, "to_shape_disc_out.5").flatten(1)], 1)


def blurred(x: Tensor) -> Tensor:
    line = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype)
    wide = pad(x, [1, 1, 1, 1], "reflect")
    rows = sum(line[i] * wide[:, :, i : i + x.shape[2]] for i in range(3))
    return torch.as_tensor(sum(line[i] * rows[..., i : i + x.shape[3]] for i in range(3)))


def file(folder: Path, level: int, attention: int = 0, side: int = 5) -> tuple[Path, Tensors, Tensors]:
    torch.manual_seed(0)
    g, d = generator(level, attention), discriminator(level, attention, side)
    state = {f"{key}.{name}": each for key, part in (("G", g), ("GE", g), ("D", d)) for name, each in part.items()}
    torch.save({"GAN": state, "version": "1.2.1", "G_scaler": {}, "D_scaler": {}}, folder / "model_9.pt")
    return folder / "model_9.pt", g, d


@pytest.mark.parametrize(("level", "attention", "side"), [(5, 32, 5), (7, 8, 1), (9, 0, 5)])
def test_imported_weights_draw_and_score_as_theirs(tmp_path: Path, level: int, attention: int, side: int) -> None:
    path, theirs, critic = file(tmp_path, level, attention, side)
    run = import_weights(path, "lightweight-gan", tmp_path / "run", license="MIT")
    networks = run.load_all(ganzoo.load_registry())
    z = torch.randn(2, LATENT)
    expected = Reference(theirs).images(z, level)
    drawn = networks["generator"][0].double()(z.double())
    torch.testing.assert_close(drawn, expected.clamp(0, 1), rtol=0, atol=1e-9)
    images = torch.rand(2, 3, 1 << level, 1 << level).double()
    own = networks["discriminator"][0].double()
    torch.testing.assert_close(own(images), -Reference(critic).scores(images, level, side), rtol=0, atol=1e-9)
    maps = Reference(critic).maps(images, level)
    error = mse_loss(Reference(critic).decoder(maps[1], "decoder1"), interpolate(images, (128, 128)))
    if level == 9:
        torch.manual_seed(1)
        row, column = divmod(int(torch.randint(4, (1,))), 2)
        part = maps[0][:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        seen = images[:, :, 256 * row : 256 * row + 256, 256 * column : 256 * column + 256]
        error = error + mse_loss(Reference(critic).decoder(part, "decoder2"), interpolate(seen, (128, 128)))
        torch.manual_seed(1)
    torch.testing.assert_close(own.reconstruction(images, own.maps(images)), error)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("GE.out_conv.weight"), "no checkpoint of lightweight-gan"),
        (lambda state: state.update({"GE.layers.1.1.dct_weights": torch.ones(1)}), "--freq-chan-attn"),
        (
            lambda state: state.update({"GE.layers.1.0.9.weight": torch.ones(1)}),
            "the generator has layers.1.0.9.weight",
        ),
        (lambda state: state.pop("GE.layers.2.0.3.weight"), "the generator has no layers.2.0.3.weight"),
        (lambda state: state.pop("D.to_shape_disc_out.3.fn.fn.to_q.weight"), "the discriminator has no to_shape"),
        (lambda state: state.update({"GE.layers.2.0.2.1.weight": torch.ones(2, 8, 4, 4)}), "not those of a base"),
        (lambda state: state.update({"GE.out_conv.bias": torch.full((3,), math.nan)}), "not finite"),
    ],
)
def test_files_that_are_others(tmp_path: Path, change: Callable[[Tensors], object], words: str) -> None:
    path, *_ = file(tmp_path, 5)
    state = torch.load(path, weights_only=True)
    change(state["GAN"])
    torch.save(state, path)
    with pytest.raises(UserError, match=words):
        import_weights(path, "lightweight-gan", tmp_path / "run", license="MIT")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("side", [30, 48, 16, 2048])
def test_sides_that_are_no_powers_of_two_are_refused(side: int) -> None:
    for network in (LightweightGenerator, LightweightDiscriminator):
        with pytest.raises(UserError, match=r"square images of 32, 64, .* not \d+x\d+; resize them"):
            network(LightweightConfig(), Image(3, side, side))
    with pytest.raises(UserError, match="not 32x64"):
        LightweightGenerator(LightweightConfig(), Image(3, 32, 64))


def test_the_reconstruction_is_learned() -> None:
    data = torch.rand(8, 3, 32, 32)
    run = ganzoo.train(
        "lightweight_gan",
        data=data,
        steps=8,
        config={"batch_size": 4, "model": {"channel_base": 256, "channel_max": 8, "head_dim": 2}, "log_every": 1},
        quiet=True,
    )
    errors = [line["discriminator/reconstruction"] for line in run.metrics()]
    assert errors[-1] < errors[0]
