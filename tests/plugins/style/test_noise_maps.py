"""The noise maps of a style-based run: found besides styles, kept as noise is, and drawn with again."""

from pathlib import Path

import numpy as np
import published
import pytest
import torch
from conftest import Command
from PIL import Image as Pillow

import ganzoo
import ganzoo_runtime as runtime
from ganzoo import Image, Label, UserError
from ganzoo.inference.importing import import_weights
from ganzoo.inference.projection import ImageDistance, descend_styles, noise_correlation
from ganzoo.inference.sampling import TorchSampler
from ganzoo_plugins.networks.stylegan2 import StyleGAN2Config, StyleGAN2Generator

MAPS = {
    "synthesis.blocks.0.layers.0.noise": (4, 4),
    "synthesis.blocks.1.layers.0.noise": (8, 8),
    "synthesis.blocks.1.layers.1.noise": (8, 8),
    "synthesis.blocks.2.layers.0.noise": (16, 16),
    "synthesis.blocks.2.layers.1.noise": (16, 16),
}
S = sum(height * width for height, width in MAPS.values())


@pytest.fixture
def network() -> StyleGAN2Generator:
    """A generator of 16x16 in two classes whose layers add much noise."""
    torch.manual_seed(0)
    config = StyleGAN2Config(latent_dim=6, style_dim=5, channel_base=64, channel_max=8)
    found = StyleGAN2Generator(config, Image(1, 16, 16, (-1, 1), name="x"), (Label(2),)).eval().requires_grad_(False)
    for name, parameter in found.synthesis.named_parameters():
        if name.endswith("strength"):
            parameter.fill_(0.3)
    return found


def correlation(noise: np.ndarray) -> float:
    """The regularizer of one map, number by number (arXiv:1912.04958, appendix D)."""
    height, width = noise.shape
    right = down = 0.0
    for y in range(height):
        for x in range(width):
            right += noise[y, x] * noise[y, x - 1]  # that before the first is the last
            down += noise[y, x] * noise[y - 1, x]
    found = (right / noise.size) ** 2 + (down / noise.size) ** 2
    if min(height, width) <= 8:
        return float(found)
    half = [[noise[y : y + 2, x : x + 2].sum() / 2 for x in range(0, width, 2)] for y in range(0, height, 2)]
    return float(found + correlation(np.array(half)))


@pytest.mark.parametrize("shape", [(4, 4), (7, 7), (8, 8), (28, 28), (32, 16)])
def test_correlation_of_noise_is_that_of_the_paper(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    noise = random.standard_normal((3, *shape))
    noise[1] += np.linspace(-2, 2, shape[1])  # a signal of low frequency
    noise[2] = random.standard_normal((shape[0], 1))
    found = noise_correlation(torch.from_numpy(noise))
    np.testing.assert_allclose(found, [correlation(each) for each in noise], rtol=1e-12)
    assert found[0] < found[1:].min()


def test_samples_have_noise_of_their_own(network: StyleGAN2Generator) -> None:
    assert {name: tuple(each.shape) for name, each in network.noises.items()} == MAPS
    before = {name: each.clone() for name, each in network.noises.items()}
    noise = torch.randn(3, S, generator=torch.Generator().manual_seed(1))
    inputs = torch.randn(3, 6), torch.tensor([0, 1, 0])
    found = network.with_noise(*inputs, noise)
    assert all(torch.equal(each, before[name]) for name, each in network.noises.items())
    for sample in range(3):  # the same as if its maps were those of the network
        done = 0
        for each in network.noises.values():
            each.copy_(noise[sample, done : done + each.numel()].reshape(each.shape))
            done += each.numel()
        expected = network(*(each[sample : sample + 1] for each in inputs))
        torch.testing.assert_close(found[sample : sample + 1], expected, rtol=0, atol=1e-5)


def test_a_sampler_takes_noise_for_all_samples_or_each(network: StyleGAN2Generator) -> None:
    sampler = TorchSampler(network, {})
    noise = np.random.default_rng(0).standard_normal((70, S))
    found = sampler.sample(70, seed=2, label=1, truncation=0.5, latents={"noise": noise})  # in several batches
    w = sampler.styles(70, 2, label=1, truncation=0.5)
    tensors = torch.zeros(70, 6), torch.zeros(70, dtype=torch.int64), torch.zeros(70, 6), torch.from_numpy(w)
    expected = network.with_noise(*tensors, torch.from_numpy(noise).float())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    own = np.concatenate([each.flatten() for each in network.noises.values()])
    np.testing.assert_allclose(sampler.sample(3, seed=2, latents={"noise": own}), sampler.sample(3, seed=2), atol=1e-6)
    with pytest.raises(UserError, match=rf"the noise maps of 2 samples .* the shape \[{S}\] or \[2, {S}\], not"):
        sampler.sample(2, latents={"noise": noise[:2, 1:]})
    with pytest.raises(UserError, match="noise maps are finite numbers"):
        sampler.sample(2, latents={"noise": np.full(S, np.nan)})


def test_noise_is_found_besides_styles_and_stays_noise(network: StyleGAN2Generator) -> None:
    styles = torch.from_numpy(TorchSampler(network, {}).styles(3, 5, label=1))
    others = torch.zeros(3, 6), torch.zeros(3, dtype=torch.int64), torch.zeros(3, 6)

    def draw(styles: torch.Tensor, *maps: torch.Tensor) -> torch.Tensor:
        if not maps:
            return network.drawn(styles)
        return network.with_noise(*others, styles, torch.cat([each.flatten(1) for each in maps], 1))

    start = [each.expand(3, -1, -1) for each in network.noises.values()]
    random = torch.Generator().manual_seed(1)
    distance = ImageDistance(draw(styles, *(torch.randn(each.shape, generator=random) for each in start)))
    without, none = descend_styles(draw, distance, styles, 6, 0.0, steps=80)
    assert none == []
    found, maps = descend_styles(draw, distance, styles, 6, 0.0, steps=80, noises=start)
    assert (distance(draw(found, *maps)) < 0.85 * distance(draw(without))).all()
    for each, shape in zip(maps, MAPS.values(), strict=True):
        assert each.shape == (3, *shape)
        assert not each.requires_grad
        torch.testing.assert_close(each.mean((1, 2)), torch.zeros(3), rtol=0, atol=1e-5)
        torch.testing.assert_close(each.square().mean((1, 2)), torch.ones(3), rtol=0, atol=1e-4)
        if shape != (4, 4):  # whose 16 numbers cannot all be apart
            assert (noise_correlation(each) < 1e-3).all()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose layers add noise."""
    torch.manual_seed(0)
    state = published.generator(False)
    (tmp_path / "file").write_bytes(published.nvlabs(state, published.discriminator(False), state, ""))
    return import_weights(tmp_path / "file", "stylegan2-ada", tmp_path / "run").path


def test_image_to_noise_to_image(cli: Command, run: Path) -> None:
    assert cli("sample", run, "-n", 2, "--seed", 3, "--out", "images").code == 0
    asked = ("encode", run, "images", "--optimize", "--steps", 3)
    assert cli(*asked, "--noise", "--space", "w+", "--out", "found.npz", "--grid", "g.png").code == 0
    encoding = ganzoo.encode(run, "images", optimize=True, steps=3, space="w+", noise=True, quiet=True)
    assert cli(*asked, "--out", "none.npz").code == 0
    with np.load("none.npz") as found:
        assert set(found.files) == {"w", "files"}
    with np.load("found.npz") as found:
        w, noise = found["w"], found["noise"]
    assert (noise.shape, noise.dtype) == ((2, S), np.float32)
    np.testing.assert_array_equal(noise, encoding.noise)
    model = ganzoo.load(run)
    drawn = model.sample(2, latents={"w": w, "noise": noise})
    np.testing.assert_array_equal(drawn, encoding.reconstructions)
    assert np.abs(drawn - model.sample(2, latents={"w": w})).max() > 0.1
    for latent, again in (("found.npz", "e.npz"), ("e.npz", "f.npz")):  # what is written goes in again
        assert cli("edit", run, "--latent", latent, "--direction", "w.1=0", "--out", again).code == 0
        with np.load(again) as found:
            np.testing.assert_array_equal(found["noise"], noise)
            np.testing.assert_array_equal(found["pixels"], runtime.pixels(drawn, (-1, 1)))
    assert cli("interpolate", run, "--latent", "found.npz", "--steps", 1, "--out", "frames").code == 0
    frames = sorted(Path("frames").iterdir())
    with Pillow.open(frames[0]) as first, Pillow.open(frames[-1]) as last:  # the noise of the first is that of all
        np.testing.assert_array_equal(np.asarray(first), ganzoo.grid(runtime.pixels(drawn[:1], (-1, 1))))
        expected = model.sample(2, latents={"w": w, "noise": noise[0]})
        np.testing.assert_array_equal(np.asarray(last), ganzoo.grid(runtime.pixels(expected[1:], (-1, 1))))


@pytest.mark.parametrize(
    ("noise", "sentence"),
    [
        (np.zeros((2, S - 1)), f"have the shape [{S}] or [2, {S}], not [2, {S - 1}]"),
        (np.zeros((2, 16, 16)), f"have the shape [{S}] or [2, {S}], not [2, 16, 16]"),
        (np.zeros((1, S)), "found.npz does not hold noise for each of its 2 latents"),
        (np.zeros(()), "found.npz does not hold noise for each of its 2 latents"),
        (np.full((2, S), np.inf), "noise maps are finite numbers that float32 can hold"),
        (np.full((2, S), "a"), "it holds something else than numbers"),
    ],
)
def test_noise_that_does_not_fit_is_refused(cli: Command, run: Path, noise: np.ndarray, sentence: str) -> None:
    np.savez("found.npz", w=ganzoo.load(run).styles(2), noise=noise)
    cli("edit", run, "--latent", "found.npz", "--direction", "w.1=1").refused(sentence)


def test_noise_is_looked_for_where_there_is_some(cli: Command, run: Path) -> None:
    Pillow.fromarray(np.zeros((16, 16), np.uint8)).save("image.png")
    cli("encode", run, "image.png", "--noise").refused("noise is what --optimize finds besides; give that too")
    asked = ("image.png", "--optimize", "--noise")
    cli("encode", run, *asked, "--space", "z").refused(f"are found beside styles, and in Z {run} has none")
    with pytest.raises(ValueError, match="takes no noise maps"):
        ganzoo.load("zoo:dcgan-mnist5k").sample(1, latents={"noise": np.zeros(3)})
