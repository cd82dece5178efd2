"""BEGAN's autoencoder and its balance, and R3GAN's residual networks."""

import math

import pytest
import torch
from torch import nn

from ganzoo import Image, Label, Latent, Points, UserError, draw_latent, load_registry
from ganzoo.config.resolving import load_config
from ganzoo.data.dataset import DataSpec, TensorDataset
from ganzoo.inference.sampling import draw_inputs
from ganzoo.runs.checkpoint import seed_random
from ganzoo.training.loop import Loop
from ganzoo_plugins.conv.began import ELU, repelling
from ganzoo_plugins.networks.r3gan import R3GANGenerator, Reading, ResidualBlock

SMALL = {
    "began": ("model.width=2", "model.latent_dim=4"),
    "r3gan": ("model.widths=[4,8]", "model.group=4", "model.latent_dim=4"),
}
SIZES = [(1, 28, 28), (3, 32, 32), (2, 16, 16), (3, 28, 44), (1, 64, 16), (3, 64, 64)]


def trainer_for(name, *fields_and_sets, preset=None):
    sets = [each for each in fields_and_sets if isinstance(each, str)]
    config = load_config(load_registry(), name, preset=preset, sets=sets)
    return config.build_trainer(DataSpec("made", tuple(each for each in fields_and_sets if each not in sets), 10))


def image(*shape):
    return Image(*shape, range=(0, 255))


def loop_for(name, *sets):
    sets = (*SMALL[name], "batch_size=4", *sets)
    config = load_config(load_registry(), name, sets=sets)
    images = torch.randint(256, (16, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    dataset = TensorDataset(DataSpec("made", (image(1, 16, 16),), 16), {"x": images})
    seed_random(0)
    return Loop(config.build_trainer(dataset.spec), dataset, config.train)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", SMALL)
def test_images_of_many_sizes_and_channels(name, shape):
    trainer = trainer_for(name, image(*shape), *SMALL[name])
    images = trainer.generator.eval()(*draw_inputs(trainer.generator.signature, 3, 0))
    assert images.shape == (3, *shape)
    assert trainer.generator.signature.output == Image(*shape, range=trainer.pixel_range)
    assert trainer.discriminator(images).shape == (3,)


@pytest.mark.parametrize("name", SMALL)
def test_other_sizes_and_points_are_refused(name):
    with pytest.raises(UserError, match="30x28"):
        trainer_for(name, image(1, 30, 28))
    with pytest.raises(UserError, match=f"{name} draws images, not points"):
        trainer_for(name, Points(2))


def test_began_scores_with_minus_the_mean_absolute_error():
    discriminator = trainer_for("began", image(3, 28, 28), *SMALL["began"]).discriminator
    x = torch.rand(5, 3, 28, 28) * 2 - 1
    errors = torch.stack(
        [(a - b).abs().sum() / a.numel() for a, b in zip(x, discriminator.reconstruct(x), strict=True)]
    )
    torch.testing.assert_close(discriminator(x), -errors)


@pytest.mark.parametrize("name", SMALL)
def test_images_are_without_bounds_in_training_and_within_the_range_else(name):
    generator = trainer_for(name, image(1, 28, 28), *SMALL[name]).generator
    with torch.no_grad():
        generator.body[-1].weight *= 1e3
    z = draw_inputs(generator.signature, 3, 0)[0]
    free = generator(z)
    low, high = generator.signature.output.range
    assert free.min() < low
    assert free.max() > high
    assert torch.equal(generator.eval()(z), free.clamp(low, high))


def test_repelling_is_the_mean_squared_cosine_of_two_codes():
    codes = torch.randn(6, 4, dtype=torch.float64)
    cosines = [
        torch.dot(one, other) / (one.norm() * other.norm())
        for i, one in enumerate(codes)
        for j, other in enumerate(codes)
        if i != j
    ]
    torch.testing.assert_close(repelling(codes), torch.stack(cosines).square().mean())
    assert repelling(torch.eye(4)).item() == 0
    assert repelling(torch.ones(4, 3)).item() == pytest.approx(1)


def test_began_repels_codes_by_default_and_not_in_the_paper():
    images = torch.rand(4, 3, 28, 28)
    for sets, repels in (((), True), (("model.repel=0",), False)):
        trainer = trainer_for("began", image(3, 28, 28), "model.width=2", *sets)
        torch.manual_seed(0)
        found = trainer.generator_loss({"x": images})
        torch.manual_seed(0)
        fake = trainer.generator(draw_latent(trainer.generator, 4, torch.device("cpu")))
        expected = trainer.loss.generator(trainer.discriminator(fake), None)
        if repels:
            expected = expected + 0.1 * repelling(trainer.discriminator.encoder(fake))
        torch.testing.assert_close(found["loss"], expected)
        assert ("similarity" in found) is repels


def test_latents_of_began_draw_different_images_from_the_start():
    torch.manual_seed(0)
    generator = trainer_for("began", image(1, 28, 28)).generator
    images = generator(draw_inputs(generator.signature, 64, 0)[0])
    assert images.std(0).mean() > 0.3


def test_began_is_made_as_in_the_paper():
    trainer = trainer_for("began", image(3, 64, 64), "model.width=2", "model.repeat=2", "model.latent_dim=64")
    generator, discriminator = trainer.generator, trainer.discriminator
    assert generator.signature.inputs == (Latent((64,), "uniform"),)
    shapes = [parameter.shape for parameter in generator.parameters()]
    assert shapes == [parameter.shape for parameter in discriminator.decoder.parameters()]
    convolutions = [module for module in discriminator.encoder if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [2, 2, 4, 4, 4, 6, 6, 6, 8, 8, 8]
    assert [module.stride for module in convolutions].count((2, 2)) == 3
    assert discriminator.encoder[-1].in_features == 8 * 8 * 8
    assert discriminator.encoder[-1].out_features == 64


def test_began_refuses_another_loss_no_less_than_its_loss_refuses_another_model():
    with pytest.raises(UserError, match="autoencoder"):
        trainer_for("r3gan", image(1, 28, 28), "loss.name=began")


def test_elu_is_elu_with_both_derivatives():
    x = torch.linspace(-6, 90, 97, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ELU()(x), nn.functional.elu(x))
    inside = torch.tensor([-3.0, -0.5, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ELU(), inside)
    assert torch.autograd.gradgradcheck(ELU(), inside)


def test_k_moves_towards_the_balance_and_is_logged():
    loop = loop_for("began", "loss.lambda_k=0.5", "loss.gamma=1")
    loop.trainer.generator.body.append(nn.Hardtanh(-1e-3, 1e-3))  # black images, reconstructed better than noise
    loop.advance()
    logs = loop.take_logs()
    k = logs["discriminator/k"]
    assert logs["discriminator/fake"] > logs["discriminator/real"], "fakes are reconstructed too well"
    assert k > 0, "so the discriminator minds them more"
    expected = 0.5 * (logs["discriminator/fake"] - logs["discriminator/real"])
    assert k == pytest.approx(expected, rel=1e-4)
    assert logs["discriminator/convergence"] == pytest.approx(
        -logs["discriminator/real"] + abs(logs["discriminator/fake"] - logs["discriminator/real"]), rel=1e-4
    )


def test_k_falls_where_the_discriminator_is_ahead():
    loop = loop_for("began", "loss.lambda_k=0.5", "loss.gamma=0")
    loop.trainer.loss.load_state_dict({"k": torch.tensor(0.9)})
    loop.advance()
    assert loop.take_logs()["discriminator/k"] < 0.9


def test_k_survives_a_resume_to_the_last_bit(tmp_path):
    loop = loop_for("began", "loss.lambda_k=0.5", "loss.gamma=1")
    loop.trainer.loss.load_state_dict({"k": torch.tensor(0.9)})
    for _ in range(2):
        loop.advance()
    path = loop.save(tmp_path)
    loop.take_logs()
    loop.advance()
    other = loop_for("began", "loss.lambda_k=0.5", "loss.gamma=1")
    other.restore(path)
    other.advance()
    expected = loop.take_logs()
    assert expected["discriminator/k"] > 0
    assert other.take_logs() == expected


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)])
def test_residual_blocks_are_the_identity_at_first(shape):
    trainer = trainer_for("r3gan", image(*shape), *SMALL["r3gan"], "model.blocks=2")
    for network in (trainer.generator, trainer.discriminator):
        blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
        assert len(blocks) == 2 * (3 if shape[1] == 28 else 5)
        for block in blocks:
            x = torch.randn(2, block.body[0].in_channels, 8, 8)
            assert torch.equal(block(x), x)
            assert block.body[-1].weight.count_nonzero() == 0


def test_the_other_layers_of_a_block_are_scaled_by_fix_up():
    torch.manual_seed(0)
    one, sixteen = ResidualBlock(64, 2, 16, 1), ResidualBlock(64, 2, 16, 16)
    for layer, fan_in in ((0, 64), (2, 16 * 9)):
        expected = (2 / 1.04 / fan_in) ** 0.5
        assert one.body[layer].weight.std().item() == pytest.approx(expected, rel=0.05)
        assert sixteen.body[layer].weight.std().item() == pytest.approx(expected / 2, rel=0.05), "16^(-1/4)"
    trainer = trainer_for("r3gan", image(1, 28, 28), "model.widths=[64]", "model.blocks=4")
    for network in (trainer.generator, trainer.discriminator):
        block = next(module for module in network.modules() if isinstance(module, ResidualBlock))
        expected = (2 / 1.04 / 64) ** 0.5 * 12**-0.25
        assert block.body[0].weight.std().item() == pytest.approx(expected, rel=0.05), "4 blocks in each of 3 stages"


def test_r3gan_has_no_normalization_and_knows_each_sample_alone():
    trainer = trainer_for("r3gan", image(1, 28, 28))
    for network in (trainer.generator, trainer.discriminator):
        assert not [module for module in network.modules() if "Norm" in type(module).__name__]
        assert not list(network.buffers())
        grouped = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.groups > 1]
        assert grouped
    x = torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(trainer.discriminator(x)[:1], trainer.discriminator(x[:1]), rtol=1e-4, atol=1e-5)


def test_the_reading_is_a_depthwise_convolution_over_the_whole_map():
    reading = Reading((6, 4, 7))
    x = torch.randn(3, 6, 4, 7)
    mixed = nn.functional.conv2d(x, reading.weight[:, None], groups=6)
    torch.testing.assert_close(reading(x), reading.score(mixed.flatten(1)))


def test_r3gan_brings_its_loss_and_both_penalties():
    trainer = trainer_for("r3gan", image(1, 28, 28))
    assert type(trainer.loss).__name__ == "Relativistic"
    assert list(trainer.regularizers) == ["r1", "r2"]
    with pytest.raises(UserError, match=r"groups of 5 .* model\.widths"):
        trainer_for("r3gan", image(1, 28, 28), "model.group=5")


def test_presets_of_the_papers():
    trainer = trainer_for("r3gan", image(3, 32, 32), "model.widths=[16]", preset="paper")
    group = trainer.optimizers["discriminator"].param_groups[0]
    assert (group["lr"], group["betas"]) == (2e-4, (0.0, 0.99))
    assert sum(isinstance(module, ResidualBlock) for module in trainer.generator.modules()) == 8
    assert [each.config.interval for each in trainer.regularizers.values()] == [1, 1]
    trainer = trainer_for("began", image(3, 32, 32), "model.width=2", preset="paper")
    assert (trainer.config.latent_dim, trainer.config.repeat) == (64, 2)
    assert trainer.loss.config.lambda_k == 0.001


@pytest.mark.parametrize("name", SMALL)
def test_a_few_steps_teach_both_players(name):
    loop = loop_for(name)
    before = {
        key: [parameter.clone() for parameter in network.parameters()] for key, network in loop.trainer.networks.items()
    }
    for _ in range(3):
        loop.advance()
    assert not loop.nonfinite()
    for key, network in loop.trainer.networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[key], network.parameters(), strict=True)]
        assert all(moved), key


def test_the_authors_presets_of_r3gan():
    """Widths, rates and half-lives of their code, each group of 16 channels: 96 of them at 1536 inner channels."""
    for preset, size, widths in (("cifar", 32, [768] * 4), ("ffhq256", 256, [96, 192, 384, 768, 768, 768, 768])):
        config = load_config(load_registry(), "r3gan", preset=preset)
        with torch.device("meta"):
            network = R3GANGenerator(config.model.settings, Image(3, size, size))
        blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
        assert [block.body[0].in_channels for block in blocks] == [width for width in widths[::-1] for _ in range(2)]
        assert all(block.body[2].out_channels == 16 * block.body[2].groups for block in blocks)
        schedule, steps, batch = config.train.lr_schedule.make(), config.train.steps, config.train.batch_size
        assert 2e-4 * schedule(round(1e7 / batch), steps) == pytest.approx(1.25e-4, rel=1e-3), "half-way, at 1e7 images"
        assert 2e-4 * schedule(round(2e7 / batch) + 1, steps) == pytest.approx(5e-5)
        half_life = {"cifar": 5e6, "ffhq256": 5e5}[preset]
        assert config.train.ema_decay(steps - 1) ** (half_life / batch) == pytest.approx(0.5)
        assert config.train.ema_decay(round(1e7 / batch)) ** (half_life / 2 / batch) == pytest.approx(0.5, rel=0.01)
        quarter = config.train.ema_decay(round(5e6 / batch))  # (1 - cos(45 degrees)) / 2 of the half-life
        assert quarter ** (half_life * 0.146447 / batch) == pytest.approx(0.5, rel=0.01)


def test_r3gan_burns_in_gamma_and_beta_along_half_a_cosine_and_resumes_in_it(tmp_path):
    """The authors' cosine_decay_with_warmup: base + (1 - (1 + cos(pi n / total)) / 2) (final - base)."""
    sets = (
        *SMALL["r3gan"],
        "batch_size=4",
        "model.burn_in=32",
        "regularizer.r1.weight=0.5",
        "regularizer.r1.interval=1",
    )
    loop = loop_for("r3gan", *sets)
    for step in range(11):
        loop.advance()
        decay = (1 + math.cos(math.pi * min(step / 8, 1))) / 2
        groups = [each.param_groups[0] for each in loop.trainer.optimizers.values()]
        assert [group["betas"][1] for group in groups] == pytest.approx([0.9 + (1 - decay) * 0.09] * 2)
        assert loop.trainer.regularizers["r1"].config.weight == pytest.approx(5 + (1 - decay) * (0.5 - 5))
        if step == 4:
            loop.save(tmp_path)
    other = loop_for("r3gan", *sets)
    other.restore(tmp_path / "step-000005")
    while other.step < loop.step:
        other.advance()
    for ours, theirs in zip(loop.trainer.generator.parameters(), other.trainer.generator.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_r3gan_is_conditioned_by_an_embedding_and_a_product():
    trainer = trainer_for("r3gan", image(1, 16, 16), Label(3), *SMALL["r3gan"], "model.conditional=true")
    torch.manual_seed(0)
    x, y = torch.rand(6, 1, 16, 16), torch.arange(6) % 3
    features = trainer.discriminator.body(x)
    assert features.shape == (6, 8)
    weight = trainer.discriminator.embedding.map.weight
    expected = torch.stack([row @ weight[:, each] for row, each in zip(features, y, strict=True)])
    torch.testing.assert_close(trainer.discriminator(x, y), expected)
    z = torch.randn(1, 4).expand(3, 4)
    assert (trainer.generator.train()(z, torch.arange(3)).diff(dim=0).abs().amax((1, 2, 3)) > 0).all()
