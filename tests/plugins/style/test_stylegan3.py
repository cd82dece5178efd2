"""StyleGAN3: published weights draw what the paper's equations do, and what moves in a style moves the image.

The equations of arXiv:2106.12423 are written here in float64 with SciPy's filters, a sample and a channel at a time;
names are those of NVIDIA's code.
"""

from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch
from PIL import Image as Pillow
from scipy import signal, special
from torch import Tensor
from torch.autograd import grad
from torch.nn.functional import affine_grid, conv2d, leaky_relu

import ganzoo
from ganzoo import Image, UserError, cli
from ganzoo.inference.importing import import_weights
from ganzoo_plugins.networks.stylegan3 import FilteredLayer, StyleGAN3Config, StyleGAN3Generator, bands, lowpass

REGISTRY = ganzoo.load_registry()
LAYERS, SIZE, MARGIN = 5, 32, 10


class Reference:
    """A generator for 32x32 with random weights, by NVIDIA's names and by the paper's equations."""

    def __init__(self, radial: bool, conditional: bool = False, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.radial = radial
        share = np.minimum(np.arange(LAYERS + 1) / (LAYERS - 2), 1)
        stop = 2**2.1 * (SIZE / 2 * 2**0.3 / 2**2.1) ** share
        self.cutoff = 2 * (SIZE / 4) ** share
        self.rate = np.exp2(np.ceil(np.log2(np.minimum(2 * stop, SIZE)))).astype(int)
        self.half = np.maximum(stop, self.rate / 2) - self.cutoff
        self.size = self.rate + 2 * MARGIN
        self.size[-2:] = SIZE
        base, most = (256, 12) if radial else (128, 6)
        self.channels = np.rint(np.minimum(base / 2 / self.cutoff, most)).astype(int)
        self.channels[-1] = 3
        self.state = self._state(conditional)

    def layer(self, index: int) -> tuple[str, int]:
        """Return a layer's name, and the number of the map before it."""
        return f"synthesis.L{index}_{self.size[index]}_{self.channels[index]}", max(index - 1, 0)

    def _state(self, conditional: bool) -> dict[str, Tensor]:
        style, drawn = published.STYLE, published.drawn
        mapping = published.generator(conditional)
        found = {name: tensor for name, tensor in mapping.items() if name.startswith("mapping.")}
        first = int(self.channels[0])
        found |= {"synthesis.input.transform": torch.eye(3), "synthesis.input.freqs": drawn(first, 2) * 2}
        found |= {"synthesis.input.phases": drawn(first), "synthesis.input.weight": drawn(first, first)}
        found |= {"synthesis.input.affine.weight": drawn(4, style), "synthesis.input.affine.bias": drawn(4)}
        for index in range(LAYERS + 1):
            name, before = self.layer(index)
            inputs, outputs = int(self.channels[before]), int(self.channels[index])
            side = 1 if self.radial or index == LAYERS else 3
            found |= {f"{name}.weight": drawn(outputs, inputs, side, side), f"{name}.bias": drawn(outputs)}
            found |= {f"{name}.affine.weight": drawn(inputs, style), f"{name}.affine.bias": 1 + drawn(inputs)}
            found[f"{name}.magnitude_ema"] = drawn(1)[0].square() + 0.5
            for key, taken in self.filters(index).items():
                found[f"{name}.{key}_filter"] = torch.from_numpy(taken).float()
        return found

    def filters(self, index: int) -> dict[str, Any]:
        """Return the filters that a layer has: none where its rate does not change."""
        before, rate = max(index - 1, 0), self.dense(index)
        found = {}
        for key, at in (("up", before), ("down", index)):
            factor, width = rate // self.rate[at], 2 * self.half[at]
            if index == LAYERS or factor == 1:
                continue
            taps = 6 * factor
            found[key] = signal.firwin(taps, self.cutoff[at], width=width, fs=rate)
            if key == "down" and self.radial and index < LAYERS - 2:
                x = (np.arange(taps) - (taps - 1) / 2) / rate
                r = np.hypot(*np.meshgrid(x, x))
                window = np.kaiser(taps, signal.kaiser_beta(signal.kaiser_atten(taps, width / (rate / 2))))
                taken = special.j1(2 * self.cutoff[at] * np.pi * r) / (np.pi * r) * np.outer(window, window)
                found[key] = taken / taken.sum()
        return found

    def dense(self, index: int) -> int:
        """Return the rate that a layer's nonlinearity is computed at."""
        return int(max(self.rate[max(index - 1, 0)], self.rate[index])) * (1 if index == LAYERS else 2)

    def images(self, w: Tensor) -> Tensor:
        """Return what the synthesis network draws of one style for all layers, [N, D] in float64; not clamped."""
        p = {name: tensor.double() for name, tensor in self.state.items()}
        t = published.linear(p, "synthesis.input.affine", w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        turn, move = torch.eye(3).double().repeat(2, len(w), 1, 1)
        turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = t[:, 0], -t[:, 1], t[:, 1], t[:, 0]
        move[:, 0, 2], move[:, 1, 2] = -t[:, 2], -t[:, 3]
        transform = turn @ move
        phases = p["synthesis.input.phases"] + (p["synthesis.input.freqs"] @ transform[:, :2, 2:])[:, :, 0]
        freqs = p["synthesis.input.freqs"] @ transform[:, :2, :2]
        fading = (freqs.norm(dim=2) - self.cutoff[0]) / (self.rate[0] / 2 - self.cutoff[0])
        theta = torch.eye(2, 3).double() * (0.5 * self.size[0] / self.rate[0])
        side = int(self.size[0])
        grid = affine_grid(theta[None], [1, 1, side, side], align_corners=False)[0]
        waves = torch.sin(2 * np.pi * (torch.einsum("hwk,nck->nhwc", grid, freqs) + phases[:, None, None]))
        waves = waves * (1 - fading).clamp(0, 1)[:, None, None]
        x = (waves @ (p["synthesis.input.weight"] / len(freqs[0]) ** 0.5).T).permute(0, 3, 1, 2)
        for index in range(LAYERS + 1):
            x = torch.cat([self._layer(p, index, x[n : n + 1], w[n : n + 1]) for n in range(len(x))])
        return x * 0.25

    def convolved(self, p: dict[str, Tensor], index: int, x: Tensor, w: Tensor) -> Tensor:
        """Return what a layer of weights ``p`` makes of one map before it filters."""
        name = self.layer(index)[0]
        weight, style = p[f"{name}.weight"], published.linear(p, f"{name}.affine", w)[0]
        side = weight.shape[2]
        if index == LAYERS:
            weight = weight * style[None, :, None, None] / weight.shape[1] ** 0.5
        else:
            weight = weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt() * style[None, :, None, None]
            weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        x = conv2d(x / p[f"{name}.magnitude_ema"].sqrt(), weight, padding=side - 1)
        return x + p[f"{name}.bias"][:, None, None]

    def _layer(self, p: dict[str, Tensor], index: int, x: Tensor, w: Tensor) -> Tensor:
        before, side = self.layer(index)[1], p[f"{self.layer(index)[0]}.weight"].shape[2]
        x = self.convolved(p, index, x, w)
        if index == LAYERS:
            return x
        up, down = self.dense(index) // self.rate[before], self.dense(index) // self.rate[index]
        taken = self.filters(index)
        ups, downs = (len(taken[key]) for key in ("up", "down"))
        around = (self.size[index] - 1) * down + 1 - (self.size[before] + side - 1) * up + ups + downs - 2
        low = (around + up) // 2
        maps = []
        for each in x[0].numpy():
            wide = each
            for axis in (0, 1):
                wide = signal.upfirdn(taken["up"] * up, wide, up=up, axis=axis)
                wide = np.concatenate([wide, np.zeros_like(wide)], axis)  # zeros behind the last sample
                first, length = ups - 1 - low, (self.size[before] + side - 1) * up + around - ups + 1
                wide = wide.take(range(first, first + length), axis)
            active = (leaky_relu(torch.from_numpy(wide), 0.2) * 2**0.5).clamp(-256, 256).numpy()
            kernel = taken["down"] if taken["down"].ndim == 2 else np.outer(taken["down"], taken["down"])
            maps.append(signal.convolve(active, kernel, "valid")[::down, ::down])
        return torch.from_numpy(np.stack(maps))[None]


def imported(reference: Reference, tmp_path: Path, **changes: Tensor | None) -> ganzoo.Run:
    state = {name: each for name, each in (reference.state | changes).items() if each is not None}
    judge = published.discriminator(False)  # that of another size, which is left out
    content = published.nvlabs(state, judge, state, "raise SystemExit", group=2)
    (tmp_path / "file.pkl").write_bytes(content)
    return import_weights(tmp_path / "file.pkl", "stylegan3", tmp_path / "run")


@pytest.mark.parametrize(("radial", "conditional"), [(False, False), (True, True)])
def test_published_weights_draw_what_the_equations_say(radial: bool, conditional: bool, tmp_path: Path) -> None:
    reference = Reference(radial, conditional)
    run = imported(reference, tmp_path)
    network, metadata = run.load(REGISTRY)
    z = torch.randn(2, published.LATENT)
    given = [torch.arange(2)] if conditional else []
    p = {name: tensor.double() for name, tensor in reference.state.items()}
    expected = reference.images(published.mapped(p, z.double(), given[0] if given else None))
    assert expected.std() > 0.1
    network.synthesis.limits = (-1e9, 1e9)  # type: ignore[union-attr, assignment]
    assert (network(z, *given) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert torch.equal(network.mapping.mean, reference.state["mapping.w_avg"])  # type: ignore[union-attr, arg-type]
    assert "non-commercial" in metadata["license"]
    model = run.document()["model"]
    assert (model["layers"], model["margin"], model["rotation"]) == (LAYERS, MARGIN, radial)
    assert (model["channel_base"], model["channel_max"]) == (128, 6)


def test_the_file_is_sampled_and_exported(tmp_path: Path) -> None:
    run = imported(Reference(False), tmp_path)
    cli.main(["export", str(run.path), "--onnx", "--out", str(tmp_path / "g.onnx")])
    file, model = ganzoo.load(tmp_path / "g.onnx"), ganzoo.load(run.path)
    assert file.metadata["parity"]["batches"] == [1, 3, 64]
    assert file.metadata["parity"]["max_difference"] <= 1e-5
    np.testing.assert_allclose(
        file.sample(3, seed=4, truncation=0.5), model.sample(3, seed=4, truncation=0.5), atol=1e-4
    )


@pytest.mark.parametrize(("radial", "index"), [(False, 0), (True, 1)])
def test_a_layer_and_its_two_derivatives_are_those_of_the_whole_filters(radial: bool, index: int) -> None:
    """The map with zeros between its samples, in float64, convolved with the two-dimensional filters."""
    reference = Reference(radial)
    name, before = reference.layer(index)
    config = StyleGAN3Config(
        style_dim=published.STYLE, channel_base=128, channel_max=6, layers=LAYERS, margin=MARGIN, rotation=radial
    )
    layer = FilteredLayer(config, bands(config, Image(3, SIZE, SIZE, (-1, 1))), index).double().eval()
    p = {key: tensor.double() for key, tensor in reference.state.items()}
    weights = {key: p[f"{name}.{key}"] for key in ("weight", "bias", "affine.weight", "affine.bias")}
    layer.load_state_dict(weights | {"magnitude": p[f"{name}.magnitude_ema"]})
    size = int(reference.size[before])
    x = torch.randn(1, int(reference.channels[before]), size, size, dtype=torch.float64, requires_grad=True)
    w = torch.randn(1, published.STYLE, dtype=torch.float64, requires_grad=True)
    up, down = (reference.dense(index) // int(reference.rate[at]) for at in (before, index))
    kernels = {key: torch.from_numpy(each) for key, each in reference.filters(index).items()}
    whole = {key: each if each.dim() == 2 else torch.outer(each, each) for key, each in kernels.items()}
    maps = reference.convolved(p, index, x, w)[0][:, None]
    spread = maps.new_zeros(len(maps), 1, *(up * side for side in maps.shape[2:]))
    spread[:, :, ::up, ::up] = maps
    taps = len(whole["up"])
    wide = conv2d(spread, whole["up"][None, None] * up**2, padding=taps - 1)
    needed = (int(reference.size[index]) - 1) * down + len(whole["down"])
    first = (spread.shape[2] - up + taps - needed) // 2
    wide = wide[:, :, first : first + needed, first : first + needed]
    active = (leaky_relu(wide, 0.2) * 2**0.5).clamp(-256, 256)
    expected = conv2d(active, whole["down"][None, None])[:, 0, ::down, ::down][None]
    found, wanted = (layer(x, w),), (expected,)
    for derivative in range(3):
        for ours, theirs in zip(found, wanted, strict=True):
            assert theirs.abs().max() > 0
            assert (ours - theirs).abs().max() < 1e-6 * theirs.abs().max(), derivative
        if derivative < 2:
            found, wanted = (
                grad(sum(each.square().mean() for each in part), (x, w), create_graph=True) for part in (found, wanted)
            )


def test_there_are_no_noise_maps_to_find(tmp_path: Path) -> None:
    run = imported(Reference(False), tmp_path).path
    Pillow.new("RGB", (32, 32)).save(tmp_path / "image.png")
    with pytest.raises(UserError, match=f"noise maps are found beside styles, and in W {run} has none"):
        ganzoo.encode(run, tmp_path / "image.png", optimize=True, noise=True)
    with pytest.raises(UserError, match="this model takes no noise maps"):
        ganzoo.load(run).sample(1, latents={"noise": [0.0]})


def test_what_is_no_stylegan3_is_refused_in_a_sentence(tmp_path: Path) -> None:
    reference = Reference(False)
    name = reference.layer(1)[0]
    for said, changes in {
        "imported --as stylegan2-ada": {"synthesis.input.freqs": None},
        "turned or moved": {"synthesis.input.transform": torch.eye(3) * 2},
        "layer 1 has another down_filter": {f"{name}.down_filter": torch.ones(12) / 12},
        "layer 2 has 4 channels of side": {f"{reference.layer(2)[0]}.weight": torch.ones(4, 6, 3, 3)},
        "have synthesis.L1.other, which": {f"{name}.other": torch.ones(2)},
        "numbered from 0": {key: None for key in reference.state if key.startswith(f"{name}.")},
    }.items():
        with pytest.raises(UserError, match=said):
            imported(reference, tmp_path, **changes)
    assert not (tmp_path / "run").exists()


def test_radial_filters_are_the_same_in_all_directions() -> None:
    found = lowpass(24, 8.0, 9.0, 128, radial=True)
    spectrum = np.abs(np.fft.fft2(found.numpy(), (256, 256)))
    assert spectrum[0, 0] == pytest.approx(1)
    for step in (6, 12, 24):  # on the axis, and as far on the diagonal
        diagonal = spectrum[round(step / 2**0.5), round(step / 2**0.5)]
        assert spectrum[0, step] == pytest.approx(diagonal, abs=0.03)


@pytest.mark.parametrize("rotation", [False, True])
def test_an_image_that_is_moved_moves_as_a_whole(rotation: bool) -> None:
    """By half a pixel too, which a network that sees its pixels cannot do (configuration T); R turns by 90 degrees."""
    torch.manual_seed(1)
    config = StyleGAN3Config(
        style_dim=8, latent_dim=8, channel_base=1024, channel_max=32, layers=8, margin=10, rotation=rotation
    )
    network = StyleGAN3Generator(config, Image(3, 32, 32, (-1e9, 1e9))).eval()
    w = torch.randn(1, 8)

    def image(*affine: float) -> Tensor:
        bias = network.synthesis.input.affine.bias  # type: ignore[union-attr]
        with torch.no_grad():
            bias.copy_(torch.tensor(affine))  # type: ignore[operator, union-attr]
            return network.drawn(w[:, None].expand(-1, network.synthesis.num_styles, -1))

    plain, moved = image(1, 0, 0, 0), image(1, 0, 4 / 32, 0)  # 4 of 32 pixels to the right
    assert (moved[..., 8:-4] - plain[..., 4:-8]).std() < 0.02 * plain.std()
    half = image(1, 0, 0, 0.5 / 32)
    spectrum = torch.fft.fft(plain, dim=2) * torch.exp(-2j * torch.pi * torch.fft.fftfreq(32) * 0.5)[:, None]
    difference = (half - torch.fft.ifft(spectrum, dim=2).real)[:, :, 8:-8]
    assert difference.std() < 0.1 * plain.std()
    if rotation:
        turned = image(0, 1, 0, 0)
        assert min((turned - plain.rot90(k, (2, 3))).std() for k in (1, 3)) < 0.02 * plain.std()


def test_magnitudes_follow_in_passes_without_gradient_alone() -> None:
    torch.manual_seed(0)
    config = StyleGAN3Config(style_dim=8, latent_dim=8, channel_base=64, channel_max=4, magnitude_decay=0.5)
    network = StyleGAN3Generator(config, Image(1, 16, 16, (-1, 1)))
    layer = network.synthesis.layers[0]  # type: ignore[index, union-attr]
    z = torch.randn(4, 8)
    network(z)
    assert layer.magnitude == 1  # type: ignore[union-attr]
    with torch.no_grad():
        seen = network.synthesis.input(network.mapping(z))  # type: ignore[operator, union-attr]
        network(z)
        assert layer.magnitude == pytest.approx(0.5 + 0.5 * float(seen.square().mean()))  # type: ignore[union-attr]
        network.eval()(z)
    assert layer.magnitude == pytest.approx(0.5 + 0.5 * float(seen.square().mean()))  # type: ignore[union-attr]


def test_sizes_that_it_cannot_draw_are_refused() -> None:
    for height, width in ((28, 28), (8, 8), (32, 64)):
        with pytest.raises(UserError, match="16, 32, 64"):
            bands(StyleGAN3Config(), Image(1, height, width, (-1, 1)))
