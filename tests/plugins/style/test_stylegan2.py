"""StyleGAN2: sizes as published, styles where they belong, and what is kept beside weights."""

import tomllib

import numpy as np
import pytest
import torch

from ganzoo import (
    Attributes,
    DataSpec,
    Image,
    Label,
    Loop,
    TensorDataset,
    UserError,
    load_config,
    load_registry,
    train,
)
from ganzoo_plugins.networks.stylegan2 import StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2Generator
from ganzoo_plugins.style.stylegan2 import StyleGAN2

REGISTRY = load_registry()
SMALL = ["model.latent_dim=8", "model.style_dim=8", "model.channel_base=64", "model.channel_max=8", "batch_size=8"]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("size", "base", "generator", "discriminator"),
    [(1024, 32768, 30_370_060, 29_012_513), (256, 16384, 24_767_458, 24_001_089)],
)
def test_networks_have_as_many_parameters_as_the_authors_logs_say(size, base, generator, discriminator):
    config = StyleGAN2Config(latent_dim=512, style_dim=512, mapping_layers=8, channel_base=base, channel_max=512)
    sample = Image(3, size, size, (-1, 1))
    with torch.device("meta"):
        assert count(StyleGAN2Generator(config, sample)) == generator
        assert count(StyleGAN2Discriminator(config, sample)) == discriminator


def trainer(*sets, fields=(Image(3, 16, 16, (0, 255), name="x"),)):
    rng = torch.Generator().manual_seed(0)
    tensors = {}
    for field in fields:
        match field:
            case Image():
                tensors[field.name] = torch.randint(256, (40, *field.shape), dtype=torch.uint8, generator=rng)
            case Label():
                tensors[field.name] = torch.arange(40) % field.classes
            case _:
                tensors[field.name] = torch.randn(40, *field.shape, generator=rng)
    data = TensorDataset(DataSpec("made", fields, 40), tensors)
    config = load_config(REGISTRY, "stylegan2", flags={"device": "cpu"}, sets=[*SMALL, *sets])
    return Loop(config.build_trainer(data.spec), data, config.train)


def test_coarse_styles_come_from_one_latent_and_fine_ones_from_another():
    torch.manual_seed(0)
    network = trainer("model.mixing=1.0").trainer
    seen = []
    network.generator.synthesis.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.generate(200, ())
    (styles,) = seen
    layers = network.generator.synthesis.num_styles
    changes = (styles[:, 1:] != styles[:, :-1]).any(2).sum(1)
    assert changes.tolist() == [1] * 200
    firsts = (styles != styles[:, :1]).any(2).float().argmax(1)
    assert set(firsts.tolist()) == set(range(1, layers))
    trainer_ = trainer("model.mixing=0.0").trainer
    seen.clear()
    trainer_.generator.synthesis.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trainer_.generate(4, ())
    assert torch.equal(seen[0], seen[0][:, :1].expand_as(seen[0]))


def test_the_mean_style_follows_in_the_step_of_the_discriminator_alone():
    loop = trainer()
    mean = loop.trainer.generator.mapping.mean
    phases = {phase.name: phase for phase in loop.phases}
    loop.run(phases["generator"])
    assert not mean.any()
    loop.run(phases["discriminator"])
    first = mean.clone()
    assert first.any()
    for _ in range(3000):
        with torch.no_grad():
            mean.lerp_(torch.full_like(mean, 2.0), 0.002)
    np.testing.assert_allclose(mean, 2.0, atol=0.02)


def test_noise_is_drawn_in_training_and_stands_still_outside():
    network = trainer().trainer.generator
    for block in network.synthesis.blocks:
        for layer in block.layers:
            torch.nn.init.constant_(layer.strength, 1.0)
    z = torch.randn(4, 8)
    assert not torch.equal(network(z), network(z))
    network.eval()
    assert torch.equal(network(z), network(z))
    assert network(z).abs().max() <= 1


def test_settings_of_optimizers_are_corrected_for_lazy_regularizers():
    optimizers = trainer("model.optimizer.lr=0.002").trainer.optimizers
    for name, share in (("generator", 4 / 5), ("discriminator", 16 / 17)):
        (group,) = optimizers[name].param_groups
        assert float(group["lr"]) == pytest.approx(0.002 * share)
        assert group["betas"] == pytest.approx((0.0, 0.99**share))
    optimizers = trainer("regularizer.r1.interval=1", "model.discriminator_lr=0.004").trainer.optimizers
    assert float(optimizers["discriminator"].param_groups[0]["lr"]) == pytest.approx(0.004)


def test_gamma_follows_the_rule_of_the_authors_in_their_preset_unless_it_is_given(tmp_path):
    def gammas(*sets, preset=None):
        config = load_config(REGISTRY, "stylegan2", preset=preset, sets=[*SMALL, *sets])
        data = DataSpec("made", (Image(4, 32, 64, (0, 255)),), 40)
        with torch.device("meta"):
            built = config.build_trainer(data).regularizers["r1"].config.weight
        shown = config.suited(data).to_dict()
        assert shown["regularizer"]["torch-ganzoo/r1"]["weight"] == built
        return built

    assert gammas(preset="auto") == pytest.approx(0.0002 * 32 * 64 / 8)
    assert gammas("accumulate=4", "regularizer.r1.interval=8", preset="auto") == pytest.approx(0.0002 * 32 * 64 / 32)
    assert gammas("regularizer.r1.weight=3", preset="auto") == 3
    assert gammas() == gammas(preset="paper256") == 1
    small = load_config(REGISTRY, "stylegan3").to_dict()["regularizer"]
    assert small["torch-ganzoo/r1"]["weight"] == 1
    models = [*(("stylegan2", preset) for preset in StyleGAN2.presets), ("stylegan3", None), ("stylegan3", "paper256")]
    for model, each in models:  # the default rate of stylegan2 is for small networks
        assert load_config(REGISTRY, model, preset=each).to_dict()["model"]["optimizer"]["lr"] == 2.5e-3
    run = train(
        "stylegan2", preset="auto", data=torch.rand(40, 1, 16, 16), sets=[*SMALL, "steps=1"], out=tmp_path, quiet=True
    )
    found = tomllib.loads((run.path / "config.toml").read_text(encoding="utf-8"))
    assert found["regularizer"]["torch-ganzoo/r1"]["weight"] == pytest.approx(0.0002 * 16 * 16 / 8)


@pytest.mark.parametrize(
    ("size", "sets", "said"),
    [
        ((8, 8), (), "can be divided by 2 at least twice"),
        ((30, 30), (), "can be divided by 2 at least twice"),
        ((16, 16), ("batch_size=6",), "scores 4 samples together"),
    ],
)
def test_sizes_and_batches_that_do_not_fit_are_refused_in_a_sentence(size, sets, said):
    with pytest.raises(UserError, match=said):
        train("stylegan2", data=torch.rand(40, 1, *size), sets=[*SMALL, *sets], quiet=True)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_any_number_of_channels_and_any_shape(channels):
    loop = trainer(fields=(Image(channels, 16, 32, (0, 255), name="x"),))
    loop.advance()
    assert loop.exports()["generator"](torch.randn(2, 8)).shape == (2, channels, 16, 32)


@pytest.mark.parametrize("field", [Label(3), Attributes(2, examples=((0.0, 1.0),))])
def test_conditions_reach_both_networks(field):
    image = Image(1, 16, 24, (0, 255), name="x")
    loop = trainer("model.conditional=true", fields=(image, field))
    loop.advance()
    network, given = loop.trainer.generator.eval(), torch.eye(3)[:2, :2] if field.shape else torch.tensor([0, 1])
    z = torch.randn(1, 8).expand(2, -1)
    one, other = network(z, given)
    assert not torch.allclose(one, other)
    x = torch.randn(1, 1, 16, 24).expand(2, -1, -1, -1)
    one, other = loop.trainer.discriminator.eval()(x, given)
    assert one != other


def test_the_mapping_network_learns_from_path_lengths():
    loop = trainer()
    (phase,) = (phase for phase in loop.phases if phase.name == "path_length")
    loop.differentiate(phase)
    assert all(layer.weight.grad.abs().max() > 0 for layer in loop.trainer.generator.mapping.layers)


def test_squared_path_lengths_are_means_over_the_layers():
    learner = trainer("model.mixing=0.9").trainer
    learner.generator.eval()  # where noise is the same each time
    generate, latent = learner.differentiated((), 8)
    count = learner.generator.synthesis.num_styles
    styles = (latent / count**0.5).detach().requires_grad_()
    assert styles.shape == (4, count, 8)
    assert not torch.equal(styles[:, 0], styles[:, -1])  # some are mixed
    y = torch.randn(4, 3, 16, 16)
    (mine,) = torch.autograd.grad((generate(latent) * y).sum(), latent)
    (each,) = torch.autograd.grad((learner.generator.synthesis(styles) * y).sum(), styles)
    torch.testing.assert_close(mine.square().sum((1, 2)), each.square().sum(2).mean(1))
