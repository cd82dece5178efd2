"""Image to image: networks of any size, CycleGAN's game and its pool, pix2pix, inpainting, sheets and figures."""

import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn
from torch.nn.functional import l1_loss, mse_loss, softplus

from ganzoo import DataSpec, Image, Points, TensorDataset, UserError, load_config, load_registry
from ganzoo.runs.checkpoint import seed_random
from ganzoo.training.loop import Loop
from ganzoo_plugins.metrics.translation import Translation
from ganzoo_plugins.networks.patch import PatchDiscriminator
from ganzoo_plugins.networks.unet import UNet
from ganzoo_plugins.translation.networks import ResNet, Translator
from ganzoo_plugins.translation.pool import ImagePool

SMALL = {
    "cyclegan": ("model.width=2", "model.blocks=1", "model.discriminator_width=2"),
    "discogan": ("model.width=2", "model.discriminator_width=2"),
    "dualgan": ("model.width=2", "model.discriminator_width=2"),
    "pix2pix": ("model.width=2", "model.discriminator_width=2"),
    "inpaint": ("model.width=2", "model.discriminator_width=2"),
    "inpaint_z": ("model.width=2", "model.discriminator_width=2"),
}


def domains(a=(3, 16, 16), b=(3, 16, 16), *, paired=False, size=12):
    fields = tuple(Image(*shape, range=(0, 255), name=name) for name, shape in (("a", a), ("b", b)))
    rng = torch.Generator().manual_seed(0)
    tensors = {
        field.name: torch.randint(256, (size, *field.shape), dtype=torch.uint8, generator=rng) for field in fields
    }
    return TensorDataset(DataSpec("made", fields, size, paired), tensors)


def images(shape=(1, 16, 16), size=12):
    pixels = torch.randint(256, (size, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TensorDataset(DataSpec("made", (Image(*shape, range=(0, 255)),), size), {"x": pixels})


def loop_for(key, dataset, *sets):
    config = load_config(load_registry(), key, sets=(*SMALL[key], "batch_size=4", *sets))
    seed_random(0)
    return Loop(config.build_trainer(dataset.spec), dataset, config.train)


def batch_of(loop):
    return loop.trainer.prepare(next(loop.stream))


# --- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (20, 36), (64, 8)])
def test_a_residual_network_takes_any_multiple_of_four(size):
    field = Image(3, 32, 32)
    network = Translator(ResNet(3, 1, 4, 2), field, Image(1, 32, 32, name="b"), ResNet.multiple).eval()
    assert network.signature.inputs[0].multiple == network.signature.output.multiple == 4
    answer = network(torch.randn(2, 3, *size))
    assert answer.shape == (2, 1, *size)
    assert answer.abs().max() <= 1


def test_a_network_that_paints_over_the_image_adds_or_replaces():
    field, x = Image(3, 16, 16), torch.rand(2, 3, 16, 16) * 2 - 1
    network = Translator(ResNet(3, 7, 4, 1), field, replace(field, name="b"), ResNet.multiple, repaint=True).eval()
    last = network.body[-1]
    nn.init.zeros_(last.weight)
    added, placed = torch.tensor([0.1, -0.2, 0.0]), torch.tensor([0.5, 0.0, -1.0])
    more, instead = (torch.atanh(0.98 * x) + added[:, None, None]).tanh(), placed.tanh()[:, None, None].expand_as(x)
    for mask, expected in ((-50.0, more), (0.0, (more + instead) / 2), (50.0, instead)):
        last.bias.data = torch.cat([added, placed, torch.tensor([mask])])
        torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_u_net_takes_any_multiple_of_its_halvings_and_sees_the_latent(depth):
    torch.manual_seed(0)
    network = UNet(2, 3, 4, depth, latent=5, dropout=0.5).eval()
    x, z = torch.randn(3, 2, 16, 48), torch.randn(3, 5)
    assert network(x, z).shape == (3, 3, 16, 48)
    assert not torch.allclose(network(x, z), network(x, -z))
    assert torch.equal(network(x, z), network(x, z))  # no dropout outside of training
    assert not torch.equal(network.train()(x, z), network(x, z)) or depth == 1


def test_without_skips_everything_goes_through_the_innermost_map():
    torch.manual_seed(0)
    for skips in (True, False):
        network = UNet(1, 1, 4, 3, skips=skips).eval()
        with torch.no_grad():
            network.down[-1][1].weight.zero_()
            network.down[-1][1].bias.zero_()
        answers = network(torch.randn(2, 1, 8, 8))
        assert torch.allclose(answers[0], answers[1]) is not skips


@pytest.mark.parametrize(("key", "smallest"), [("discogan", 4), ("dualgan", 1)])
@pytest.mark.parametrize("side", [16, 32, 64])
def test_without_skips_more_than_a_pixel_is_left_of_an_image(key, smallest, side):
    body = loop_for(key, domains((3, side, side), (3, side, side))).trainer.networks["a_to_b"].body
    assert 2 ** len(body.down) == side // smallest


def test_sizes_that_a_network_cannot_halve_are_refused():
    with pytest.raises(UserError, match=r"multiples of 4.*18x16"):
        Translator(ResNet(1, 1, 2, 1), Image(1, 18, 16), Image(1, 18, 16), 4)
    with pytest.raises(UserError, match=r"at least 32x32.*patch_layers"):
        PatchDiscriminator((Image(1, 16, 16),), 4, 3, "instance")


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_score_sees_a_patch_of_the_paper_s_size(layers, patch):
    torch.manual_seed(0)
    # Without norm, which sees all of the image.
    body = PatchDiscriminator((Image(1, 128, 128),), 2, layers, "none").body
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    scores = torch.nn.Sequential(*body)(x)
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    rows = x.grad[0, 0].abs().sum(1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == patch


# --- the pool -------------------------------------------------------------------------------------------------------


def test_the_pool_fills_up_and_then_swaps_half_of_what_it_is_shown():
    torch.manual_seed(0)
    pool = ImagePool(50, (1, 1, 1))
    first = torch.arange(50.0).view(50, 1, 1, 1)
    assert torch.equal(pool(first), first)
    swapped = 0
    for step in range(1, 41):
        new = first + 100 * step
        shown = pool(new)
        old = shown != new
        swapped += int(old.sum())
        assert (shown[old] < 100 * step + 50).all()
        assert len(pool.images) == 50
    assert 0.45 < swapped / 2000 < 0.55
    assert pool.images.unique().numel() == 50  # each image is kept once


def test_a_pool_of_no_size_shows_what_it_is_given():
    x = torch.randn(3, 1, 2, 2)
    pool = ImagePool(0, (1, 2, 2))
    assert pool(x) is x
    assert not len(pool.images)


# --- CycleGAN and its kin -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "extra"), [("cyclegan", ("model.identity_weight=0.7",)), ("discogan", ())])
def test_the_generators_minimize_the_paper_s_sum(key, extra):
    loop = loop_for(key, domains((3, 32, 32), (3, 32, 32)), *extra)
    trainer, batch = loop.trainer, batch_of(loop)
    for network in trainer.networks.values():
        network.eval()  # batch norm would differ between joint and single passes
    a, b, net, config = batch["a"], batch["b"], trainer.networks, trainer.config
    distance = l1_loss if key == "cyclegan" else mse_loss
    fake_b, fake_a = net["a_to_b"](a), net["b_to_a"](b)
    scores = net["discriminator_b"](fake_b), net["discriminator_a"](fake_a)
    if key == "cyclegan":
        expected = sum(((score - 1) ** 2).mean() / 2 for score in scores)
    else:
        expected = sum(softplus(-score).mean() for score in scores)
    cycle = distance(net["b_to_a"](fake_b), a) + distance(net["a_to_b"](fake_a), b)
    identity = distance(net["a_to_b"](b), b) + distance(net["b_to_a"](a), a)
    expected = expected + config.cycle_weight * cycle + config.identity_weight * identity
    torch.testing.assert_close(trainer.generator_loss(batch)["loss"], expected)


def test_the_discriminators_see_this_step_s_translations_through_the_pool():
    loop = loop_for("cyclegan", domains())
    trainer, batch = loop.trainer, batch_of(loop)
    net = trainer.networks
    trainer.generator_loss(batch)
    fakes = {"b": net["a_to_b"](batch["a"]).detach(), "a": net["b_to_a"](batch["b"]).detach()}
    other = batch_of(loop)
    expected = sum(
        ((net[f"discriminator_{name}"](other[name]) - 1) ** 2).mean() / 2
        + (net[f"discriminator_{name}"](fakes[name]) ** 2).mean() / 2
        for name in "ab"
    )
    torch.testing.assert_close(trainer.discriminator_loss(other)["loss"], expected)
    assert torch.equal(trainer.pools["a"].images, fakes["a"])
    # A second critic step has no translations left and makes some of its own batch.
    again = trainer.discriminator_loss(batch)
    assert again["loss"].isfinite()
    assert len(trainer.pools["b"].images) == 8


def test_dualgan_clips_both_critics_and_leaves_the_generators_alone():
    loop = loop_for("dualgan", domains())
    loop.advance()
    for name, network in loop.trainer.networks.items():
        largest = max(float(parameter.detach().abs().max()) for parameter in network.parameters())
        assert (largest <= 0.01) is name.startswith("discriminator")


def test_lazy_penalties_are_applied_to_each_discriminator():
    loop = loop_for("cyclegan", domains(), "regularizer.r1.interval=2")
    assert [phase.name for phase in loop.phases] == ["generators", "discriminators", "a/r1", "b/r1"]
    assert [phase.updates for phase in loop.phases[2:]] == [("discriminator_a",), ("discriminator_b",)]
    for _ in range(3):
        loop.advance()
    assert len(loop.logs["a/r1/penalty"]) == 2


def test_domains_of_other_channels_are_translated_without_identity_and_mask():
    loop = loop_for("cyclegan", domains((1, 16, 16), (3, 16, 16)))
    loop.advance()
    assert loop.trainer.networks["a_to_b"](torch.randn(1, 1, 16, 16)).shape == (1, 3, 16, 16)
    assert not loop.trainer.networks["a_to_b"].repaint
    assert "generators/identity" not in loop.logs
    alike = loop_for("cyclegan", domains()).trainer
    assert alike.networks["a_to_b"].repaint
    assert alike.networks["b_to_a"].repaint
    assert not loop_for("discogan", domains((3, 32, 32), (3, 32, 32))).trainer.networks["a_to_b"].repaint


@pytest.mark.parametrize("key", ["cyclegan", "pix2pix"])
def test_data_of_one_domain_is_refused(key):
    with pytest.raises(UserError, match=r"two domains.*--data unpaired"):
        loop_for(key, images())


def test_a_loss_is_needed_and_penalties_on_latents_are_refused():
    registry, spec = load_registry(), domains().spec
    cls = registry.get("model", "cyclegan").spec.load()
    with pytest.raises(UserError, match="--loss"):
        cls(cls.Config(), spec, None, {})
    with pytest.raises(UserError, match=r"path_length.*latents"):
        loop_for("cyclegan", domains(), "regularizer.path_length.weight=1")


# --- pix2pix --------------------------------------------------------------------------------------------------------


def test_pix2pix_judges_pairs_and_keeps_close_to_the_truth():
    loop = loop_for("pix2pix", domains(paired=True), "model.dropout=0")
    trainer, batch = loop.trainer, batch_of(loop)
    for network in trainer.networks.values():
        network.eval()
    fake = trainer.generator(batch["a"])
    score = trainer.discriminator.body(torch.cat([batch["a"], fake], dim=1))
    expected = softplus(-score).mean() + 100 * (fake - batch["b"]).abs().mean()
    torch.testing.assert_close(trainer.generator_loss(batch)["loss"], expected)
    real = trainer.discriminator.body(torch.cat([batch["a"], batch["b"]], dim=1))
    expected = softplus(-real).mean() + softplus(score).mean()
    torch.testing.assert_close(trainer.phases()[0].loss(batch)["loss"], expected)


def test_pix2pix_asks_for_pairs():
    with pytest.raises(UserError, match=r"pairs.*cyclegan"):
        loop_for("pix2pix", domains())


# --- inpainting -----------------------------------------------------------------------------------------------------


def test_only_the_hole_is_filled_and_what_was_in_it_is_not_looked_at():
    loop = loop_for("inpaint_z", images())
    generator = loop.trainer.generator.eval()
    x, z = torch.rand(3, 1, 16, 16) * 2 - 1, torch.randn(3, 8)
    mask = torch.zeros(3, 1, 16, 16)
    mask[:, :, 4:10, 2:12] = 1
    filled = generator(x, mask, z)
    hole = mask > 0
    assert torch.equal(filled[~hole], x[~hole])
    assert not torch.allclose(filled[hole], x[hole])
    torch.testing.assert_close(generator(torch.where(hole, 0.3, x), mask, z), filled)
    assert not torch.allclose(generator(x, mask, -z), filled)


def test_holes_are_rectangles_of_a_quarter_to_half_of_the_sides_anywhere():
    loop = loop_for("inpaint", images((1, 16, 32)))
    masks = loop.trainer._mask(torch.empty(500, 1, 16, 32))
    heights, widths = (masks[:, 0].amax(axis).sum(1) for axis in (2, 1))
    assert torch.equal(masks.sum((1, 2, 3)), heights * widths)
    assert (heights.min(), heights.max()) == (4, 7)
    assert (widths.min(), widths.max()) == (8, 15)
    assert (masks.amax(0) == 1).all()


def test_inpainting_minimizes_its_sum():
    loop = loop_for("inpaint_z", images(), "model.rest_weight=3")
    trainer, batch = loop.trainer, batch_of(loop)
    for network in trainer.networks.values():
        network.eval()
    x = batch["x"]
    torch.manual_seed(5)
    found = trainer.generator_loss(batch)
    torch.manual_seed(5)
    mask, z, other = trainer._mask(x), trainer._latent(x), trainer._latent(x)
    drawn, filled = trainer.generator.draw(x, mask, z), trainer.generator(x, mask, z)
    hole = mask.bool().expand_as(x)
    apart = (trainer.generator(x, mask, other) - filled).abs()[hole].mean()
    expected = (
        softplus(-trainer.discriminator(filled, mask)).mean()
        + 2.0 * (drawn - x).abs()[hole].mean()
        + 3.0 * (drawn - x).abs()[~hole].mean()
        + 0.5 * (z - other).abs().mean() / (apart + 1e-5)
    )
    torch.testing.assert_close(found["loss"], expected)


def test_what_inpainting_cannot_do_is_refused():
    points = DataSpec("made", (Points(2),), 4)
    with pytest.raises(UserError, match="holes in images"):
        loop_for("inpaint", TensorDataset(points, {"x": torch.zeros(4, 2)}))
    with pytest.raises(UserError, match=r"multiples of 4, not 18x16"):
        loop_for("inpaint", images((1, 18, 16)))
    with pytest.raises(UserError, match="latent_dim"):
        loop_for("inpaint", images(), "model.diversity_weight=1")


# --- figures and sheets ---------------------------------------------------------------------------------------------


class Known(TensorDataset):
    """Pairs that are known whether or not training has them."""

    known_pairs = True


def test_translation_figures():
    dataset = domains((1, 4, 4), (1, 4, 4), size=20)
    known = Known(dataset.spec, dataset.tensors)
    metric = Translation(Translation.Config(samples=20), known)
    a, b = (known.examples(20)[name].float() for name in "ab")
    truth = metric(b, {"a": a})
    assert truth["l1"] == 0
    assert truth["matched"] == 1
    assert truth["input_l1"] == pytest.approx(float((a - b).abs().mean() / 255))
    shifted = metric(b.roll(1, dims=0), {"a": a})
    assert shifted["matched"] == 0
    assert metric((a + 3 * b) / 4, {"a": a})["gain"] == pytest.approx(4)
    assert metric(a, {"b": b})["matched"] == 1  # the other way
    with pytest.raises(UserError, match=r"test_a.*test_b"):
        Translation(Translation.Config(), dataset)


def test_a_run_draws_sheets_of_both_ways_and_judges_them(cli, tmp_path):
    code = cli(
        *("train", "-p", "cyclegan", "--data", "mnist_styles", "--steps", 2, "-q", "--out", "runs"),
        *("--set", "batch_size=2", "--set", "model.width=2", "--set", "model.blocks=1"),
        *("--set", "model.discriminator_width=2", "--set", "metric.translation.samples=20"),
    ).code
    assert code == 0
    (run,) = (tmp_path / "runs").iterdir()
    sheets = sorted(path.name for path in (run / "samples").iterdir())
    assert sheets == ["000000-b_to_a.png", "000000.png", "000002-b_to_a.png", "000002.png"]
    with PIL.Image.open(run / "samples" / "000002.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.std() > 10
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < row["translation/l1"] < 1
    assert 0 <= row["translation/b_to_a/matched"] <= 1
    assert "samples/000002.png" in (run / "README.md").read_text()
