"""ProGAN: networks as published at every stage, fades in step, and resumed in the middle of one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu

from ganzoo import DataSpec, Image, Loop, TensorDataset, UserError, load_config, load_registry, train
from ganzoo.runs import checkpoint
from ganzoo_exporters.export import BATCHES, export
from ganzoo_plugins.networks.progan import Growing, ProGANConfig, ProGANDiscriminator, ProGANGenerator

SMALL = ["model.latent_dim=5", "model.channel_base=64", "model.channel_max=8", "batch_size=4", "ema=0.9"]
SCHEDULE = ["model.stable=12", "model.fade=16"]  # three steps and four
STAGES = [3, 7, 10, 14]  # of 16 x 16 images
CONFIG = ProGANConfig(latent_dim=5, channel_base=64, channel_max=8)
KINDS = [ProGANGenerator, ProGANDiscriminator]


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def images(channels: int, *size: int) -> TensorDataset:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (40, channels, *size), dtype=torch.uint8, generator=rng)
    return TensorDataset(DataSpec("made", (Image(channels, *size, range=(0, 255)),), 40), {"x": pixels})


def training(*sets: str, size: tuple[int, ...] = (1, 16, 16)) -> Loop:
    data = images(*size)
    config = load_config(load_registry(), "progan", flags={"device": "cpu"}, sets=[*SMALL, *SCHEDULE, *sets])
    checkpoint.seed_random(0)
    return Loop(config.build_trainer(data.spec), data, config.train)


def advanced(loop: Loop, steps: int) -> Loop:
    for _ in range(steps):
        loop.advance()
    return loop


@pytest.fixture
def double() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("kind", "published"), [*zip(KINDS, [23_079_115, 23_087_249], strict=True)])
def test_networks_have_as_many_parameters_as_the_authors_logs_say(kind: type[Growing], published: int) -> None:
    config = load_config(load_registry(), "progan", preset="paper").model.settings
    with torch.device("meta"):
        network: Any = kind(config, Image(3, 1024, 1024, (-1, 1)))  # type: ignore[call-arg, arg-type]
        gone = 0  # the authors keep the ways to the image of all levels
        for _ in range(8):
            network.grow()
            gone += count(network.levels[-2].image)
            network.settle()
    assert count(network) + gone == published
    assert network.factor == 1


# Another reading of the paper's table 2 and appendix A, from the weights by their names.


def blocks(x: Tensor, up: bool) -> Tensor:
    if up:
        return torch.kron(x, torch.ones(2, 2))
    return sum(x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4


def layer(x: Tensor, weights: dict[str, Tensor], name: str, gain: float = 2**0.5) -> Tensor:
    weight = weights[f"{name}.weight"]
    scale = gain / weight[0].numel() ** 0.5
    if weight.dim() == 2:
        return x @ weight.T * scale + weights[f"{name}.bias"]
    return conv2d(x, weight * scale, padding=weight.shape[-1] // 2) + weights[f"{name}.bias"][:, None, None]


def pixel_norm(x: Tensor) -> Tensor:
    return x / (x.pow(2).sum(1, keepdim=True) / x.shape[1] + 1e-8).sqrt()


def drawn(z: Tensor, weights: dict[str, Tensor], levels: int, start: tuple[int, int], size: int) -> Tensor:
    """Return what the generator draws with the last level half faded in: alpha is 0.25."""
    dense = weights["dense.weight"] * (2**0.5 / (start[0] * start[1]) ** 0.5) / z.shape[1] ** 0.5
    x = (pixel_norm(z) @ dense.T).reshape(len(z), -1, *start) + weights["bias"]
    x = pixel_norm(leaky_relu(x, 0.2))
    for number in range(levels):
        old = x
        for index in range(2 if number else 1):
            x = blocks(x, up=True) if number and not index else x
            x = pixel_norm(leaky_relu(layer(x, weights, f"levels.{number}.convolutions.{index}"), 0.2))
    new = layer(x, weights, f"levels.{levels - 1}.image", 1)
    image = 0.75 * blocks(layer(old, weights, f"levels.{levels - 2}.image", 1), up=True) + 0.25 * new
    while image.shape[2] < size:
        image = blocks(image, up=True)
    return image


def scored(x: Tensor, weights: dict[str, Tensor], levels: int, height: int) -> Tensor:
    while x.shape[2] > height:
        x = blocks(x, up=False)
    old = leaky_relu(layer(blocks(x, up=False), weights, f"levels.{levels - 2}.image"), 0.2)
    x = leaky_relu(layer(x, weights, f"levels.{levels - 1}.image"), 0.2)
    for number in range(levels - 1, 0, -1):
        for index in (0, 1):
            x = leaky_relu(layer(x, weights, f"levels.{number}.convolutions.{index}"), 0.2)
        x = blocks(x, up=False)
        x = 0.75 * old + 0.25 * x if number == levels - 1 else x
    deviation = (x.var(0, correction=0) + 1e-8).sqrt().mean()  # of one group of four
    x = torch.cat([x, deviation.expand(len(x), 1, *x.shape[2:])], 1)
    x = leaky_relu(layer(x, weights, "convolution"), 0.2).flatten(1)
    return layer(leaky_relu(layer(x, weights, "hidden"), 0.2), weights, "score", 1)[:, 0]


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_networks_are_those_of_the_paper_in_the_middle_of_a_fade(double: Any, levels: int, channels: int) -> None:
    sample = Image(channels, 32, 24, (-1, 1))  # from 8 x 6
    networks: list[Any] = [ProGANGenerator(CONFIG, sample), ProGANDiscriminator(CONFIG, sample)]
    for network in networks:
        for _ in range(levels - 1):
            network.grow()
        for name, parameter in network.named_parameters():
            if "bias" in name:
                torch.nn.init.normal_(parameter)
        network.alpha.fill_(0.25)
    generator, discriminator = networks
    weights = [dict(network.named_parameters()) for network in networks]
    z, x = torch.randn(4, 5), torch.randn(4, channels, 32, 24)
    torch.testing.assert_close(generator(z), drawn(z, weights[0], levels, (8, 6), 32))
    assert generator(z).shape == (4, *generator.signature.output.shape)
    torch.testing.assert_close(discriminator(x), scored(x, weights[1], levels, 4 << levels))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fade_begins_where_the_old_level_was_and_ends_at_the_new_one(double: Any, kind: type[Growing]) -> None:
    sample = Image(3, 16, 16, (-1, 1))
    network: Any = kind(CONFIG, sample)  # type: ignore[call-arg, arg-type]
    given = torch.randn(4, 5) if kind is ProGANGenerator else torch.randn(4, 3, 16, 16)
    for level in (0, 1):
        before = network(given)
        network.grow()
        torch.testing.assert_close(network(given), before)
        network.alpha.fill_(1.0)
        at_the_end = network(given)
        assert not torch.allclose(at_the_end, before)
        network.settle()
        torch.testing.assert_close(network(given), at_the_end)
        assert network.factor == 2 >> level


def test_the_schedule_counts_images() -> None:
    assert training().trainer.stages == STAGES
    assert training("batch_size=8", "accumulate=2").trainer.stages == [1, 2, 3, 4]
    assert training(size=(3, 16, 64)).trainer.stages == STAGES
    loop = training("batch_size=2", "accumulate=4", "model.deviation_group=2", "model.stable=24", "model.fade=80")
    assert loop.trainer.stages == [3, 13, 16, 26]
    paper = load_config(load_registry(), "progan", preset="paper").build_trainer(images(3, 32, 32).spec)
    assert paper.optimizers["generator"].param_groups[0]["lr"] == 1e-3
    assert paper.stages == [37_500 * k for k in range(1, 7)]


def test_fades_move_on_in_every_step_and_optimizers_start_afresh() -> None:
    loop, shares, ages = training(), [], []
    for _ in range(16):
        loop.advance()
        shares.append([loop.trainer.networks[name].alpha.item() for name in ("generator", "discriminator")])
        for name, network in loop.trainer.networks.items():
            states = [loop.trainer.optimizers[name].state[each]["step"].item() for each in network.parameters()]
            assert len(set(states)) == 1
        ages.append(states[0])
        assert loop.ema["generator"].alpha == shares[-1][0]
    assert [one for one, _ in shares] == [other for _, other in shares]
    assert [one for one, _ in shares] == [*[1.0] * 3, *[0.25, 0.5, 0.75, 1.0] * 1, *[1.0] * 3, 0.25, 0.5, 0.75, 1, 1, 1]
    assert ages == [1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 1, 2]


def test_real_images_are_faded_as_generated_ones_are() -> None:
    loop = advanced(training(size=(3, 16, 24)), 4)
    trainer: Any = loop.trainer
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    found = trainer.faded({"x": x})["x"].numpy()
    # At 8 x 12 pixels, of which a quarter counts, and three quarters those of 4 x 6.
    new = x.numpy().reshape(2, 3, 8, 2, 12, 2).mean((3, 5))
    old = new.reshape(2, 3, 4, 2, 6, 2).mean((3, 5)).repeat(2, 2).repeat(2, 3)
    np.testing.assert_allclose(found, (0.75 * old + 0.25 * new).repeat(2, 2).repeat(2, 3), rtol=1e-5, atol=1e-6)
    seen: list[Tensor] = []
    trainer.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trainer.pair({"x": x})
    trainer.discriminator_loss({"x": x}, torch.tensor(4.0))
    np.testing.assert_allclose(seen[0], (0.5 * old + 0.5 * new).repeat(2, 2).repeat(2, 3), rtol=1e-5, atol=1e-6)


def state(loop: Loop) -> Any:
    networks = {name: each.state_dict() for name, each in loop.trainer.networks.items()}
    optimizers = {name: each.state_dict()["state"] for name, each in loop.trainer.optimizers.items()}
    return copy.deepcopy((networks, optimizers, {name: each.state_dict() for name, each in loop.ema.items()}))


@pytest.mark.parametrize("saved", [3, 5, 7, 8])
def test_resumed_in_the_middle_of_a_fade_it_is_the_same_to_the_bit(saved: int, tmp_path: Path) -> None:
    whole = advanced(training(), 12)
    advanced(training(), saved).save(tmp_path)
    resumed = training()
    torch.manual_seed(99)
    resumed.restore(checkpoint.latest(tmp_path))
    torch.testing.assert_close(state(advanced(resumed, 12 - saved)), state(whole), rtol=0, atol=0)


@pytest.mark.parametrize("steps", [pytest.param(5, marks=pytest.mark.slow), 15])
def test_files_draw_what_the_averaged_network_draws_at_every_stage(steps: int, tmp_path: Path) -> None:
    # Pixel norm over a few channels amplifies rounding, in torch as elsewhere.
    network = advanced(training("model.channel_base=512", "model.channel_max=16"), steps).exports()["generator"]
    found = export(network, tmp_path / "a.onnx", {})["parity"]
    assert found["batches"] == [*BATCHES] == [1, 3, 64]
    assert found["max_difference"] <= 1e-5


def test_a_resumed_run_takes_as_many_images_a_step(tmp_path: Path) -> None:
    sets = [*SMALL, *SCHEDULE, "steps=4", "checkpoint_every=4", "sample_every=4", "data.name=digits"]
    given: Any = {"data": torch.rand(40, 1, 16, 16), "device": "cpu", "quiet": True}
    run = train("progan", sets=sets[:-1], out=tmp_path, without=["tensorboard"], **given)
    given = {"resume": run.path, "steps": 5, "quiet": True, "data": given["data"]}
    with pytest.raises(UserError, match="takes as many a step: batch_size times accumulate is 4"):
        train(sets=["batch_size=8"], **given)
    assert train(sets=["batch_size=4"], **given).path == run.path


def test_a_grown_generator_gets_an_encoder(tmp_path: Path) -> None:
    given: Any = {"data": torch.rand(40, 1, 16, 16), "device": "cpu", "quiet": True, "out": tmp_path}
    sets = [*SMALL, *SCHEDULE, "steps=15", "sample_every=15"]
    run = train("progan", sets=sets, **given)
    small = ["steps=1", "model.width=4", "batch_size=4"]
    encoder = train("encoder_regression", sets=small, generator=run.path, **given)
    mine, theirs = (each.load_all(load_registry())["generator"][0].state_dict() for each in (run, encoder))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    with pytest.raises(UserError, match="train it first"):
        train("encoder_regression", sets=[*small, "model.gan=progan"], **given)


def test_other_sizes_and_batches_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="can be divided by 2 at least twice"):
        training(size=(1, 8, 8))
    with pytest.raises(UserError, match="scores 4 samples together"):
        train("progan", data=torch.rand(40, 1, 16, 16), sets=["batch_size=6"], device="cpu", quiet=True)
