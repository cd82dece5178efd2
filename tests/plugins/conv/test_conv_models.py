"""DCGAN, LSGAN and SNGAN: the papers' layouts, the sizes they draw, and spectral norm."""

import pytest
import torch
from torch import nn

from ganzoo import Image, Points, UserError, load_registry
from ganzoo.config.resolving import load_config
from ganzoo.data.dataset import DataSpec
from ganzoo.inference.sampling import draw_inputs
from ganzoo_plugins.networks.resnet import DownBlock, UpBlock
from ganzoo_plugins.networks.sizes import num_downsamples

REGISTRY = load_registry()


def trainer_for(name, field, *sets, preset=None):
    config = load_config(REGISTRY, name, sets=sets, preset=preset)
    torch.manual_seed(0)
    return config.build_trainer(DataSpec("made", (field,), 10))


def pixels(*shape):
    return Image(*shape, range=(0, 255))


def channels(network, kind):
    return [(layer.in_channels, layer.out_channels) for layer in network.modules() if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("size", "left"),
    [
        ((28, 28), (2, (7, 7))),
        ((64, 64), (4, (4, 4))),
        ((28, 44), (2, (7, 11))),
        ((32, 32), (3, (4, 4))),
        ((16, 16), (2, (4, 4))),
        ((48, 48), (3, (6, 6))),
        ((60, 60), (2, (15, 15))),
        ((64, 16), (2, (16, 4))),
        ((256, 256), (6, (4, 4))),
    ],
)
def test_halvings(size, left):
    assert num_downsamples(Image(1, *size)) == left


@pytest.mark.parametrize("size", [(8, 8), (30, 30), (27, 27), (68, 68), (128, 16), (14, 14)])
@pytest.mark.parametrize("name", ["dcgan", "sngan"])
def test_other_sizes_are_refused(size, name):
    with pytest.raises(UserError, match=rf"divided by 2.*not {size[0]}x{size[1]}; resize"):
        trainer_for(name, pixels(1, *size))


@pytest.mark.parametrize("name", ["dcgan", "lsgan", "sngan"])
def test_points_are_refused(name):
    with pytest.raises(UserError, match="draws images, not points"):
        trainer_for(name, Points(2))


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 64, 64), (3, 28, 44), (3, 32, 32), (2, 16, 16)])
@pytest.mark.parametrize(
    ("name", "sets"),
    [
        ("dcgan", ("model.width=4",)),
        ("dcgan", ("model.width=4", "model.batch_norm=none")),
        ("sngan", ("model.width=4", "model.discriminator_width=4")),
    ],
    ids=["dcgan", "dcgan-plain", "sngan"],
)
def test_images_of_many_sizes_are_drawn_and_scored(shape, name, sets):
    trainer = trainer_for(name, pixels(*shape), *sets)
    assert trainer.generator.signature.output == Image(*shape, range=(-1.0, 1.0))
    images = trainer.generator(*draw_inputs(trainer.generator.signature, 3, 0))
    assert images.shape == (3, *shape)
    assert -1 <= images.min() < images.max() <= 1
    assert trainer.discriminator(images).shape == (3,)


def test_packed_images_widen_the_discriminator_alone():
    trainer = trainer_for("dcgan", pixels(3, 16, 16), "model.pack=2", "model.width=4")
    assert trainer.generator.signature.output.channels == 3
    assert trainer.discriminator.signature.inputs[0].channels == 6


def test_dcgan_paper_preset_is_figure_1():
    trainer = trainer_for("dcgan", pixels(3, 64, 64), preset="paper")
    assert channels(trainer.generator, nn.ConvTranspose2d) == [(1024, 512), (512, 256), (256, 128), (128, 3)]
    assert channels(trainer.discriminator, nn.Conv2d) == [(3, 128), (128, 256), (256, 512), (512, 1024)]
    (latent,) = trainer.generator.signature.inputs
    assert (latent.shape, latent.distribution) == ((100,), "uniform")
    # Batch norm everywhere but at the generator's output and the discriminator's input.
    norms = [norm.num_features for norm in trainer.generator.modules() if isinstance(norm, nn.BatchNorm2d)]
    assert norms == [1024, 512, 256, 128]
    norms = [norm.num_features for norm in trainer.discriminator.modules() if isinstance(norm, nn.BatchNorm2d)]
    assert norms == [256, 512, 1024]
    for optimizer in trainer.optimizers.values():
        assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (2e-4, (0.5, 0.999))
    assert load_config(REGISTRY, "dcgan", preset="paper").train.batch_size == 128


def test_dcgan_channels_stop_at_eight_times_the_width():
    trainer = trainer_for("dcgan", pixels(1, 256, 256), "model.width=2")
    assert channels(trainer.generator, nn.ConvTranspose2d) == [(16, 16), (16, 16), (16, 8), (8, 4), (4, 2), (2, 1)]


def test_dcgan_weights_start_as_in_the_authors_code():
    trainer = trainer_for("dcgan", pixels(1, 32, 32), "model.width=32")
    for network in trainer.networks.values():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and layer.weight.numel() > 1000:
                assert layer.weight.mean().abs() < 0.003
                assert 0.018 < layer.weight.std() < 0.022
            if isinstance(layer, nn.BatchNorm2d):
                assert (layer.weight.mean() - 1).abs() < 0.02
                assert 0.01 < layer.weight.std() < 0.03
            bias = getattr(layer, "bias", None)
            assert bias is None or not bias.any()


@pytest.mark.parametrize(("placed", "expected"), [("generator", (True, False)), ("discriminator", (False, True))])
def test_dcgan_batch_norm_goes_where_it_is_told(placed, expected):
    trainer = trainer_for("dcgan", pixels(1, 16, 16), f"model.batch_norm={placed}", "regularizer.r1.weight=0")
    found = tuple(
        any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) for network in trainer.networks.values()
    )
    assert found == expected


def test_a_gradient_penalty_needs_batch_norm_out_of_the_discriminator():
    both = ("model.batch_norm=both", "regularizer.r1.weight=0")
    with pytest.raises(UserError, match=r"batch norm.*--without gradient_penalty"):
        trainer_for("dcgan", pixels(1, 16, 16), "loss.name=wgan_gp", *both)
    trainer_for("dcgan", pixels(1, 16, 16), "loss.name=wgan_gp", "model.batch_norm=generator")


def test_a_regularizer_of_no_weight_is_off():
    assert list(trainer_for("dcgan", pixels(1, 16, 16)).regularizers) == ["r1"]
    assert not trainer_for("dcgan", pixels(1, 16, 16), "regularizer.r1.weight=0").regularizers


def test_lsgan_is_dcgan_with_its_own_loss():
    config, base = load_config(REGISTRY, "lsgan"), load_config(REGISTRY, "dcgan")
    assert (config.loss.key, base.loss.key) == ("lsgan", "non_saturating")
    assert config.model.settings.width == base.model.settings.width
    assert load_config(REGISTRY, "lsgan", sets=("loss.name=hinge",)).loss.key == "hinge"
    assert load_config(REGISTRY, "lsgan", preset="paper").loss.key == "lsgan"


def test_sngan_paper_preset_is_table_4():
    trainer = trainer_for("sngan", pixels(3, 32, 32), preset="paper")
    ups = [(block.conv1.in_channels, block.conv2.out_channels) for block in parts(trainer.generator, UpBlock)]
    assert ups == [(256, 256)] * 3
    downs = [
        (block.conv1.in_channels, block.conv2.out_channels, block.downsample)
        for block in parts(trainer.discriminator, DownBlock)
    ]
    assert downs == [(3, 128, True), (128, 128, True), (128, 128, False), (128, 128, False)]
    assert trainer.generator.signature.inputs[0].shape == (128,)
    assert trainer.discriminator.features(torch.zeros(1, 3, 32, 32)).shape == (1, 128, 8, 8)
    assert not parts(trainer.discriminator, nn.BatchNorm2d)
    assert len(parts(trainer.generator, nn.BatchNorm2d)) == 7
    assert (trainer.n_critic, trainer.config.spectral_norm) == (5, True)
    assert load_config(REGISTRY, "sngan", preset="paper").loss.key == "hinge"
    for optimizer in trainer.optimizers.values():
        assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (2e-4, (0.0, 0.9))


def test_sngan_tapers_by_default():
    trainer = trainer_for("sngan", pixels(1, 64, 64), "model.width=32", "model.discriminator_width=24")
    blocks = parts(trainer.generator, UpBlock)
    assert [block.conv1.in_channels for block in blocks] == [32, 16, 8, 4]
    assert blocks[-1].conv2.out_channels == 4  # an eighth is the least
    blocks = parts(trainer.discriminator, DownBlock)
    assert [block.conv2.out_channels for block in blocks] == [3, 6, 12, 24, 24]
    assert [block.downsample for block in blocks] == [True, True, True, False, False]


def parts(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


def test_spectral_norm_holds_every_weight_of_sngans_discriminator_at_one():
    sets = ("model.width=4", "model.discriminator_width=8")
    trainer = trainer_for("sngan", pixels(1, 16, 16), *sets)
    layers = parts(trainer.discriminator, nn.Conv2d | nn.Linear)
    assert len(layers) == 12
    with torch.no_grad():
        for layer in layers:
            layer.parametrizations.weight.original.mul_(7)
        for _ in range(100):  # each is a step of the power iteration
            trainer.discriminator(torch.zeros(1, 1, 16, 16))
        trainer.discriminator.eval()
        for layer in layers:
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2) == pytest.approx(1, abs=0.02)
    free = trainer_for("sngan", pixels(1, 16, 16), *sets, "model.spectral_norm=false")
    assert not any(hasattr(layer, "parametrizations") for layer in free.discriminator.modules())


def test_the_score_is_the_sum_over_the_map():
    trainer = trainer_for("sngan", pixels(1, 16, 16), "model.discriminator_width=4", "model.spectral_norm=false")
    discriminator = trainer.discriminator
    x = torch.randn(2, 1, 16, 16)
    expected = discriminator.features(x).flatten(2).sum(2) @ discriminator.head.weight.t() + discriminator.head.bias
    torch.testing.assert_close(discriminator(x), expected.squeeze(1))


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
def test_in_eval_mode_samples_do_not_depend_on_their_batch(name):
    trainer = trainer_for(name, pixels(1, 16, 16), "model.width=4")
    generator, discriminator = trainer.generator, trainer.discriminator
    z = torch.randn(6, *generator.signature.inputs[0].shape)
    with torch.no_grad():
        images = generator(z)  # in training mode: batch statistics, which the running ones follow
        assert not torch.allclose(generator(z[:2]), images[:2], atol=1e-4)
        discriminator(images)
        for network, given in ((generator.eval(), z), (discriminator.eval(), images)):
            torch.testing.assert_close(network(given[:2]), network(given)[:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 6), (4, 7), (7, 5)])
def test_the_cheap_forms_of_the_blocks_are_the_papers(size):
    up, down = UpBlock(3, 5).eval().double(), DownBlock(3, 5).double()
    for layer in parts(up, nn.Conv2d) + parts(down, nn.Conv2d):
        nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    doubled = nn.functional.interpolate(x, scale_factor=2)
    inner = nn.functional.interpolate(torch.relu(up.norm1(x)), scale_factor=2)
    inner = up.conv2(torch.relu(up.norm2(up.conv1(inner))))
    torch.testing.assert_close(up(x), inner + up.shortcut(doubled))
    inner = down.conv2(torch.relu(down.conv1(torch.relu(x))))
    torch.testing.assert_close(down(x), nn.functional.avg_pool2d(inner + down.shortcut(x), 2))


def test_a_block_hands_its_condition_to_its_normalizations():
    class Shifted(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.shift = nn.Embedding(3, channels)

        def forward(self, x, y):
            return x + self.shift(y)[:, :, None, None]

    block = UpBlock(4, 4, Shifted)
    x = torch.randn(2, 4, 4, 4)
    outputs = [block(x, torch.full((2,), label)) for label in range(3)]
    assert not torch.allclose(outputs[0], outputs[1])
    assert outputs[0].shape == (2, 4, 8, 8)
