"""GANs of series: the networks beside small references, what they refuse, and what their files draw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ganzoo
from ganzoo import Image, Label, Sequence, UserError, load_registry
from ganzoo.config.resolving import load_config
from ganzoo.data.dataset import DataSpec
from ganzoo.inference.sampling import draw_inputs
from ganzoo_runtime import Generator, stored


def trainer_for(name, *fields, sets=(), preset=None):
    config = load_config(load_registry(), name, sets=sets, preset=preset)
    torch.manual_seed(0)
    return config.build_trainer(DataSpec("made", fields, 10))


@pytest.mark.parametrize("length", [8, 12, 64])
@pytest.mark.parametrize("span", [(-1.0, 1.0), (2.0, 5.0)])
def test_wgan_gp_seq_draws_the_data_s_shape_and_range(length, span):
    sample = Sequence(2, length, span)
    trainer = trainer_for("wgan_gp_seq", sample, sets=("model.width=4", "model.critic_width=4"))
    assert trainer.generator.signature.output == sample
    drawn = 100 * trainer.generator.body[:-1](*draw_inputs(trainer.generator.signature, 5, 0))
    drawn = trainer.generator.body[-1](drawn)  # the ends of the range are reached
    assert drawn.shape == (5, 2, length)
    assert drawn.min() == pytest.approx(span[0], abs=0.1)
    assert drawn.max() == pytest.approx(span[1], abs=0.1)
    assert trainer.discriminator(drawn).shape == (5,)
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in trainer.discriminator.modules())


@pytest.mark.parametrize("length", [4, 30, 65])
def test_wgan_gp_seq_refuses_other_lengths(length):
    with pytest.raises(UserError, match=rf"multiple of 4, at least 8, not {length}; choose .* or rcgan"):
        trainer_for("wgan_gp_seq", Sequence(1, length))


@pytest.mark.parametrize("name", ["wgan_gp_seq", "rcgan"])
def test_other_samples_are_refused(name):
    with pytest.raises(UserError, match="draws sequences, not images"):
        trainer_for(name, Image(1, 28, 28, range=(0, 255)))


def lstm(x, weights):
    """Return the states of a textbook LSTM [N, L, H] in float64, gate by gate (input, forget, cell, output)."""
    wx, wh, bx, bh = (
        weights[f"lstm.{name}_l0"].double().numpy() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    h = c = np.zeros((len(x), wh.shape[1]))
    states = []
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ wx.T + bx + h @ wh.T + bh, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states, 1)


def test_rcgan_is_an_lstm_that_is_given_the_label_in_each_step():
    trainer = trainer_for("rcgan", Sequence(2, 7, (0.0, 3.0)), Label(3), sets=("model.width=6",))
    network = trainer.generator
    z, y = draw_inputs(network.signature, 4, 0)
    assert z.shape == (4, 7, 5)
    weights = {name: value.detach() for name, value in network.body.state_dict().items()}
    given = np.concatenate([z.double().numpy(), np.eye(3)[y.numpy()][:, None].repeat(7, 1)], 2)
    out = lstm(given, weights) @ weights["head.weight"].double().numpy().T + weights["head.bias"].double().numpy()
    expected = (1.5 + 1.5 * np.tanh(out)).transpose(0, 2, 1)
    np.testing.assert_allclose(network(z, y).detach().numpy(), expected, atol=1e-5)


def test_rcgan_s_discriminator_scores_each_step_from_those_up_to_it():
    trainer = trainer_for("rcgan", Sequence(1, 6), Label(2))
    x, y = torch.randn(3, 1, 6), torch.tensor([0, 1, 1])
    scores = trainer.discriminator(x, y)
    assert scores.shape == (3, *trainer.discriminator.signature.output.shape) == (3, 6)
    x[:, :, 4] += 1
    changed = trainer.discriminator(x, y) != scores
    assert not changed[:, :4].any()
    assert changed[:, 4:].all()


def test_rcgan_minimizes_the_mean_cross_entropy_of_all_steps():
    trainer = trainer_for("rcgan", Sequence(1, 6))
    assert trainer.conditions == ()  # RGAN: nothing to be given
    real = {"x": torch.rand(5, 1, 6) * 2 - 1}
    state = torch.get_rng_state()
    loss = trainer.discriminator_loss(real)["loss"].item()
    torch.set_rng_state(state)
    fake = trainer.generate(5, ())
    s, t = (trainer.discriminator(part).detach().double().numpy() for part in (real["x"], fake))
    expected = -np.log(1 / (1 + np.exp(-s))).mean() - np.log(1 - 1 / (1 + np.exp(-t))).mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_the_preset_sines_is_the_paper_s_data():
    config = load_config(load_registry(), "rcgan", preset="sines")
    dataset = config.build_dataset()
    assert dataset.spec.sample.shape == (1, 30)
    assert 1 <= dataset.frequency.min() < dataset.frequency.max() <= 5
    assert 0.1 <= dataset.amplitude.min() < dataset.amplitude.max() <= 0.9


@pytest.mark.parametrize("model", ["wgan_gp_seq", "rcgan"])
def test_a_file_draws_what_torch_draws_in_the_data_s_units(model, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"name": "waves", "length": 16, "frequency": [1, 4], "size": 60, "classes": 2}
    sets = {"data": data, "model": {"width": 4}, "batch_size": 8}
    run = ganzoo.train(model, config=sets, steps=2, quiet=True, device="cpu")
    ganzoo.export(run, out="g.onnx")
    generator, sampler = Generator("g.onnx", providers=["cpu"]), ganzoo.load(run)
    output = sampler.signature.output
    ((low, high),) = output.units
    for n in (1, 3, 64):
        expected = sampler.sample(n, seed=5)
        np.testing.assert_allclose(generator.sample(n, seed=5), expected, atol=1e-5)
        found = stored(generator.sample(n, seed=5), generator.signature["output"])["channel_0"]
        np.testing.assert_allclose(found, low + (expected[:, 0] + 1) / 2 * (high - low), atol=1e-4)
