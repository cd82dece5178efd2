"""SAGAN and BigGAN: where the condition, the latent and attention enter, published numbers of parameters, refusals."""

import copy

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image as Pillow
from small import made, pixels, small
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from ganzoo import Attributes, Image, Label, Loop, UserError, load_config, load_registry
from ganzoo.inference.sampling import draw_inputs
from ganzoo.runs import checkpoint
from ganzoo_exporters.format import Onnx
from ganzoo_plugins.conditional.biggan import BigGANConfig, BigGANGenerator
from ganzoo_plugins.networks.attention import SelfAttention, attends
from ganzoo_plugins.networks.biggan import attentive_features, generator_widths
from ganzoo_plugins.networks.conditional_norm import SharedBatchNorm2d
from ganzoo_plugins.networks.projection import ProjectionDiscriminator
from ganzoo_plugins.networks.resnet import DownBlock, UpBlock
from ganzoo_runtime import Generator, truncated_normal
from ganzoo_runtime import pixels as as_pixels

MODELS = ["sagan", "biggan"]
ZOO = ROOT / "zoo/ganzoo_zoo/biggan-mnist5k/generator.onnx"
CONDITIONS = {
    "one label": (Label(3),),
    "two labels": (Label(3), Label(2, name="hue")),
    "label and attributes": (Label(3), Attributes(2, examples=((0.0, 1.0),), name="a")),
}


def training(key, conditions, *sets, channels=1, sample=None):
    dataset = made(sample or pixels(channels), *conditions)
    config = load_config(load_registry(), key, sets=[*small(key), "batch_size=4", *sets])
    checkpoint.seed_random(0)
    return Loop(config.build_trainer(dataset.spec), dataset, config.train)


@torch.no_grad()
def stirred(network):
    network = copy.deepcopy(network).eval()
    for parameter in network.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("conditions", CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("key", MODELS)
def test_every_condition_decides_something(key, conditions):
    loop = training(key, conditions)
    loop.advance()
    loop.advance()
    assert not loop.nonfinite()
    generator, discriminator = stirred(loop.exports()["generator"]), stirred(loop.trainer.discriminator)
    assert generator.signature.inputs[1:] == discriminator.signature.inputs[1:] == conditions
    z, *inputs = draw_inputs(generator.signature, 5, 0)
    images = generator(z, *inputs)
    scores = discriminator(images, *inputs)
    for index, field in enumerate(conditions):
        other = (inputs[index] + 1) % field.classes if isinstance(field, Label) else inputs[index] + 1
        changed = [*inputs[:index], other, *inputs[index + 1 :]]
        assert ((generator(z, *changed) - images).flatten(1).abs().amax(1) > 1e-4).all()
        assert ((discriminator(images, *changed) - scores).abs() > 1e-5).all()


@pytest.mark.parametrize("key", MODELS)
def test_the_file_gives_what_torch_gives_at_batches_of_1_3_and_64(key, tmp_path):
    """In color; 'ganzoo check' does the same in gray."""
    generator = training(key, CONDITIONS["label and attributes"], channels=3).trainer.generator
    for module in generator.modules():
        if isinstance(module, SelfAttention):
            nn.init.ones_(module.gamma)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # so that its statistics are those of the next batch
    with torch.no_grad():
        generator(*draw_inputs(generator.signature, 64, 0))
    document = Onnx().export(generator.eval(), tmp_path / "model.onnx", {"model": key})
    assert document["parity"]["batches"] == [1, 3, 64]
    assert document["parity"]["max_difference"] < 1e-5


def test_sagan_is_unconditional_where_the_data_has_no_labels_and_biggan_refuses_that():
    loop = training("sagan", ())
    loop.advance()
    assert [field.name for field in loop.trainer.generator.signature.inputs] == ["z"]
    assert not loop.trainer.discriminator.projections
    with pytest.raises(UserError, match="learns from labels"):
        training("biggan", ())


@pytest.mark.parametrize("key", MODELS)
def test_sizes_it_cannot_draw_are_refused(key):
    for size in ((30, 28), (1024, 1024)):
        with pytest.raises(UserError, match=f"{size[0]}x{size[1]}"):
            training(key, (Label(3),), sample=Image(1, *size, range=(0, 255)))
    with pytest.raises(UserError, match="pack"):
        training(key, (Label(3),), "model.pack=2")


@pytest.mark.parametrize(
    ("key", "apart"),
    [("sagan", {"blocks.0.norm1.affine", "blocks.0.norm2.affine"}), ("biggan", {"shared.parts.0"})],
)
def test_both_networks_are_under_spectral_norm(key, apart):
    trainer = training(key, (Label(3),)).trainer
    for network in (trainer.generator, trainer.discriminator):
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d):
                plain = network is trainer.generator and name.replace("blocks.1", "blocks.0") in apart
                assert is_parametrized(module) is not plain, name
                if not plain:
                    largest = torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
                    assert largest == pytest.approx(1, abs=0.1)
    plain = training(key, (Label(3),), "model.spectral_norm=false").trainer
    assert not any(map(is_parametrized, plain.generator.modules()))
    assert not any(map(is_parametrized, plain.discriminator.modules()))


def published(size):
    image = Image(3, size, size, range=(-1, 1))
    config = BigGANConfig(width=96, attention=64)
    with torch.device("meta"):
        generator = BigGANGenerator(config, image, (Label(1000),))
        features, width = attentive_features(image, 96, 64)
        discriminator = ProjectionDiscriminator(features, width, image, (Label(1000),))
    return generator, discriminator


def test_biggan_128_has_the_published_numbers_of_parameters():
    """Those that the authors' code prints: 70433988 and 87982370, which are the paper's 70.4M and 88.0M."""
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in published(128)]
    assert counts == [70_433_988, 87_982_370]


@pytest.mark.parametrize(
    ("size", "latent", "up", "down", "attended"),
    [
        (32, 80, [4, 4, 4], [4, 4, 4, 4], ([], [])),
        (64, 100, [16, 8, 4, 2], [1, 2, 4, 8, 16], ([2], [])),
        (128, 120, [16, 8, 4, 2, 1], [1, 2, 4, 8, 16, 16], ([2], [1])),
        (256, 140, [16, 8, 8, 4, 2, 1], [1, 2, 4, 8, 8, 16, 16], ([4], [2])),
        (512, 160, [16, 8, 8, 4, 2, 1, 1], [1, 1, 2, 4, 8, 8, 16, 16], ([4], [2])),
    ],
)
def test_biggan_is_arranged_as_in_the_authors_tables(size, latent, up, down, attended):
    """Channels in multiples of the width, and those of the maps with attention, of 64x64 pixels."""
    generator, discriminator = published(size)
    assert generator.signature.inputs[0].shape == (latent,), "20 for each block and the first layer"
    parts = (generator, UpBlock, up, attended[0]), (discriminator, DownBlock, down, attended[1])
    for network, kind, multiples, wanted in parts:
        blocks = [module for module in network.modules() if isinstance(module, kind)]
        assert [block.conv2.out_channels for block in blocks] == [96 * multiple for multiple in multiples]
        attention = [module.query.in_channels for module in network.modules() if isinstance(module, SelfAttention)]
        assert attention == [96 * multiple for multiple in wanted]
    whole = 2 if size == 32 else 1  # the last blocks keep the size
    assert [block.downsample for block in blocks] == [True] * (len(down) - whole) + [False] * whole
    z, y = torch.zeros(2, latent, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")
    images = generator(z, y)
    assert images.shape == (2, 3, size, size)
    assert discriminator(images, y).shape == (2,)


@torch.no_grad()
def test_each_block_has_a_part_of_the_latent_of_its_own():
    torch.manual_seed(0)
    image = Image(1, 16, 16)
    generator = stirred(BigGANGenerator(BigGANConfig(width=2, chunk_dim=3, embedding_dim=4), image, (Label(3),)))
    seen = []
    for block in generator.blocks:
        block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    z, y = torch.randn(5, 9), torch.tensor([0, 1, 2, 1, 0])
    starts = generator.stem(z[:, :3])
    generator.stem.register_forward_hook(lambda module, inputs, output: torch.testing.assert_close(output, starts))
    generator(z, y)
    rows = generator.shared.parts[0].weight[y]
    torch.testing.assert_close(seen, [torch.cat([rows, part], 1) for part in (z[:, 3:6], z[:, 6:])])


@torch.no_grad()
def test_shared_batch_norm_against_float64():
    norm = SharedBatchNorm2d(6, 4).double()
    x, code = torch.randn(9, 6, 4, 4).double(), torch.randn(9, 4).double()
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    expected = torch.empty_like(x)
    for n in range(9):
        for c in range(6):
            gain = 1 + sum(norm.weight.weight[c, k] * code[n, k] for k in range(4))
            shift = sum(norm.bias.weight[c, k] * code[n, k] for k in range(4))
            expected[n, c] = gain * (x[n, c] - mean[c]) / (variance[c] + 1e-5).sqrt() + shift
    torch.testing.assert_close(norm(x, code), expected)


def test_biggan_starts_orthogonal_and_its_penalty_leaves_the_embedding_alone():
    trainer = training("biggan", (Label(3),), "model.spectral_norm=false").trainer
    for network in (trainer.generator, trainer.discriminator):
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                rows = module.weight.flatten(1)
                products = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
                torch.testing.assert_close(products, torch.eye(len(products)), atol=1e-5, rtol=0)
    (penalty,) = trainer.regularizers.values()
    assert penalty.config.weight == 1e-4
    batch = {"x": torch.zeros(4, 1, 16, 16), "y": torch.tensor([0, 1, 2, 0])}
    plain = trainer._generator_penalty(penalty)(batch)
    with torch.no_grad():
        trainer.generator.shared.parts[0].weight.mul_(3)
    torch.testing.assert_close(trainer._generator_penalty(penalty)(batch), plain)
    with torch.no_grad():
        trainer.generator.blocks[0].conv1.weight[1] = trainer.generator.blocks[0].conv1.weight[0]
    assert trainer._generator_penalty(penalty)(batch) > plain + 1


@torch.no_grad()
def test_self_attention_against_loops_in_float64():
    torch.manual_seed(0)
    layer = SelfAttention(16).double()
    x = torch.randn(2, 16, 4, 6).double()
    assert torch.equal(layer(x), x), "gamma starts at 0"
    layer.gamma.fill_(0.7)
    f, g, h, v = (part.weight[:, :, 0, 0] for part in (layer.query, layer.key, layer.value, layer.output))
    assert [len(part) for part in (f, g, h, v)] == [2, 2, 8, 16]
    expected = x.clone()
    for image, result in zip(x, expected, strict=True):
        squares = [image[:, i : i + 2, j : j + 2].flatten(1) for i in (0, 2) for j in (0, 2, 4)]
        keys = [(g @ square).amax(1) for square in squares]
        values = [(h @ square).amax(1) for square in squares]
        for i in range(4):
            for j in range(6):
                powers = torch.stack([torch.exp((f @ image[:, i, j]) @ key) for key in keys])
                seen = sum(share * value for share, value in zip(powers / powers.sum(), values, strict=True))
                result[:, i, j] += 0.7 * (v @ seen)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    ("size", "side", "level"), [(32, 16, 1), (28, 16, 1), (128, 64, 1), (256, 64, 2), (16, 64, None)]
)
def test_attention_is_at_the_map_of_its_side(size, side, level):
    image = Image(1, size, size)
    steps = len(generator_widths(image, 1)[0])
    assert [each for each in range(steps) if attends(image, side, each)] == ([] if level is None else [level])
    assert not any(attends(image, 0, each) for each in range(steps))


def test_the_averaged_generator_has_statistics_of_its_own_weights(tmp_path):
    loop = training("biggan", (Label(3),), "model.standing=2")
    for _ in range(3):
        loop.advance()
    generator, other = loop.ema["generator"], training("biggan", (Label(3),), "model.standing=2")
    before, state = generator.head[0].running_mean.clone(), torch.random.get_rng_state()
    assert torch.equal(before, loop.trainer.generator.head[0].running_mean), "of other weights"
    other.restore(loop.save(tmp_path))
    assert torch.equal(torch.random.get_rng_state(), state)
    means, variances = [], []
    z, y = draw_inputs(generator.signature, 128, 0)
    generator.head[0].register_forward_pre_hook(lambda module, inputs: means.append(inputs[0].mean((0, 2, 3))))
    generator.head[0].register_forward_pre_hook(lambda module, inputs: variances.append(inputs[0].var((0, 2, 3))))
    for module in generator.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    kept = copy.deepcopy(generator.state_dict())
    with torch.no_grad():
        for part in range(2):
            generator(z[64 * part :][:64], y[64 * part :][:64])
    found = kept["head.0.running_mean"], kept["head.0.running_var"]
    torch.testing.assert_close(found, tuple(torch.stack(each).mean(0) for each in (means, variances)))
    assert not torch.equal(before, found[0])
    saved = other.ema["generator"].state_dict()
    assert all(torch.equal(value, saved[key]) for key, value in kept.items()), "what is saved is what is sampled"
    loop.ema["generator"].eval()
    loop.advance()
    assert torch.equal(generator.head[0].running_mean, loop.trainer.generator.head[0].running_mean)


def test_a_truncation_is_a_threshold_on_the_command_line(cli, tmp_path):
    file = Generator(ZOO, providers=["cpu"])
    z, y = truncated_normal(file.latents(20, 3), 0.5), np.arange(20) % 10
    assert cli("sample", ZOO, "-n", 20, "--seed", 3, "--truncation", 0.5, "--out", "s.npz").code == 0
    with np.load(tmp_path / "s.npz") as saved:
        np.testing.assert_array_equal(saved["z"], z)
        np.testing.assert_allclose(saved["samples"], file(z, y), atol=1e-5)
    assert cli("grid", ZOO, "-n", 3, "--seed", 3, "--truncation", 0.5, "--out", "grid.png").code == 0
    rows = as_pixels(file(np.repeat(z[:3], 10, axis=0), np.tile(np.arange(10), 3)), (-1, 1))
    with Pillow.open(tmp_path / "grid.png") as sheet:
        found = np.asarray(sheet)[::2, ::2][2:, 2:].reshape(3, 30, 10, 30).swapaxes(1, 2)[:, :, :28, :28]
    assert np.abs(found.reshape(30, 28, 28, 1).astype(int) - rows).max() <= 1


def test_the_latent_is_scaled_where_that_is_asked_for():
    sample = Image(1, 16, 16, range=(-1, 1))
    for truncation in ("resampled", "scaled"):
        network = BigGANGenerator(BigGANConfig(width=2, truncation=truncation), sample, (Label(3),))
        assert network.signature.inputs[0].truncation == truncation
