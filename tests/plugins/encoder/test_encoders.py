"""Encoders: what each model minimizes, an encoder for a finished generator, and sheets of round trips."""

import shutil

import pytest
import torch
from torch.nn.functional import softplus

from ganzoo import DataSpec, Image, Label, Points, Run, TensorDataset, UserError, load_config, load_registry
from ganzoo.runs.checkpoint import seed_random
from ganzoo.training.loop import Loop

SMALL = ("model.width=2", "model.latent_dim=5")


def images(shape=(1, 16, 16), size=12):
    pixels = torch.randint(256, (size, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TensorDataset(DataSpec("made", (Image(*shape, range=(0, 255)),), size), {"x": pixels})


def loop_for(key, *sets, dataset=None):
    config = load_config(load_registry(), key, sets=("batch_size=4", *sets))
    dataset = dataset or images()
    seed_random(0)
    return Loop(config.build_trainer(dataset.spec), dataset, config.train)


def still(loop):
    """The trainer with all networks in eval mode, so that passes apart and together are the same, and a batch."""
    for network in loop.trainer.networks.values():
        network.eval()
    return loop.trainer, loop.trainer.prepare(next(loop.stream))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 16, 32)])
@pytest.mark.parametrize("key", ["bigan", "aae", "vaegan"])
def test_encoder_and_generator_are_each_other_s_way_back(key, shape):
    trainer = loop_for(key, *SMALL, dataset=images(shape)).trainer
    generator, encoder = trainer.networks["generator"].eval(), trainer.networks["encoder"].eval()
    assert generator.signature.inputs == (encoder.signature.output,)
    assert encoder.signature.inputs == (generator.signature.output,)
    x = torch.rand(3, *shape)
    assert generator(encoder(x)).shape == x.shape
    assert list(trainer.exports(trainer.networks)) == ["generator", "encoder"]


@pytest.mark.parametrize("key", ["bigan", "aae", "vaegan"])
def test_points_have_no_encoder_here(key):
    with pytest.raises(UserError, match="draws images"):
        loop_for(key, *SMALL, dataset=TensorDataset(DataSpec("p", (Points(2),), 4), {"x": torch.zeros(4, 2)}))


def test_bigan_deceives_from_both_sides():
    trainer, batch = still(loop_for("bigan", *SMALL))
    x, net = batch["x"], trainer.networks
    torch.manual_seed(3)
    found = trainer.generator_loss(batch)["loss"]
    torch.manual_seed(3)
    z = trainer.prior(x)
    real, fake = net["discriminator"](x, net["encoder"](x)), net["discriminator"](net["generator"](z), z)
    torch.testing.assert_close(found, (softplus(-fake) + softplus(real)).mean())
    torch.manual_seed(3)
    found = trainer.phases()[0].loss(batch)["loss"]
    torch.testing.assert_close(found, (softplus(fake) + softplus(-real)).mean())


@pytest.mark.parametrize(
    ("loss", "fits"), [("hinge", True), ("wgan_gp", True), ("relativistic", True), ("lsgan", False)]
)
def test_bigan_takes_losses_that_treat_both_kinds_of_pairs_alike(loss, fits):
    if not fits:
        with pytest.raises(UserError, match="bigan needs a loss that treats"):
            loop_for("bigan", *SMALL, f"loss.name={loss}")
        return
    loop = loop_for("bigan", *SMALL, f"loss.name={loss}")
    before = [parameter.detach().clone() for parameter in loop.trainer.networks["encoder"].parameters()]
    loop.advance()
    after = list(loop.trainer.networks["encoder"].parameters())
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_aae_minimizes_error_and_deception():
    trainer, batch = still(loop_for("aae", *SMALL, "model.adversarial_weight=0.3"))
    x, net = batch["x"], trainer.networks
    code = net["encoder"](x)
    expected = ((net["generator"](code) - x) ** 2).mean() + 0.3 * softplus(-net["discriminator"](code)).mean()
    torch.testing.assert_close(trainer.autoencoder_loss(batch)["loss"], expected)
    torch.manual_seed(3)
    found = trainer.phases()[0].loss(batch)["loss"]
    torch.manual_seed(3)
    prior = torch.randn(4, 5)
    expected = softplus(-net["discriminator"](prior)).mean() + softplus(net["discriminator"](code)).mean()
    torch.testing.assert_close(found, expected)


def test_vaegan_follows_its_algorithm():
    trainer, batch = still(loop_for("vaegan", *SMALL, "model.feature_weight=2", "model.prior_weight=0.5"))
    x, net = batch["x"], trainer.networks
    judge, draw = net["discriminator"], net["generator"]
    mean, log_variance = net["encoder"].moments(x)
    torch.testing.assert_close(net["encoder"](x), mean)
    gauss = torch.distributions.Normal(mean, (log_variance / 2).exp())
    divergence = torch.distributions.kl_divergence(gauss, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.manual_seed(3)
    found = trainer.encoder_loss(batch)["loss"]
    torch.manual_seed(3)
    z = mean + (log_variance / 2).exp() * torch.randn(4, 5)
    error = ((judge.features(draw(z)) - judge.features(x)) ** 2).mean()
    torch.testing.assert_close(found, 0.5 * divergence + error)
    torch.manual_seed(3)
    found = trainer.generator_loss(batch)["loss"]
    torch.manual_seed(3)
    torch.randn(4, 5)
    deception = (softplus(-judge(draw(z))).mean() + softplus(-judge(draw(torch.randn(4, 5)))).mean()) / 2
    torch.testing.assert_close(found, 2 * error + deception)


def test_the_regression_encoder_learns_beside_its_generator():
    loop = loop_for("encoder_regression", "model.gan=dcgan", "model.gan_settings.width=2", "model.width=2")
    assert [phase.name for phase in loop.phases] == ["discriminator", "generator", "encoder"]
    trainer, batch = still(loop)
    torch.manual_seed(3)
    found = trainer.encoder_loss(batch)["loss"]
    torch.manual_seed(3)
    z = torch.randn(4, 100)
    expected = ((trainer.encoder(trainer.generator(z)) - z) ** 2).mean()
    torch.testing.assert_close(found, expected)


def test_an_image_loss_reaches_the_encoder_alone():
    sets = ("model.gan_settings.width=2", "model.width=2", "model.image_weight=1")
    loop = loop_for("encoder_regression", *sets)
    loop.run(loop.phases[-1])
    assert "encoder/image" in loop.logs
    assert all(parameter.grad is None for parameter in loop.trainer.generator.parameters())


def labeled():
    fields = (Image(1, 16, 16, range=(0, 255)), Label(3))
    return TensorDataset(DataSpec("made", fields, 12), {**images().tensors, "y": torch.arange(12) % 3})


@pytest.mark.parametrize("key", ["aae", "vaegan"])
def test_an_autoencoder_s_generator_is_told_the_labels_if_asked_to(key):
    loop = loop_for(key, *SMALL, "model.conditional=true", dataset=labeled())
    loop.advance()
    generator, encoder = (loop.trainer.networks[name].eval() for name in ("generator", "encoder"))
    assert [field.name for field in generator.signature.inputs] == ["z", "y"]
    assert generator.signature.inputs[:1] == (encoder.signature.output,)
    z = torch.randn(1, 5).expand(3, 5)
    one, other, third = generator(z, torch.arange(3))
    assert not torch.equal(one, other)
    assert not torch.equal(other, third)


@pytest.mark.parametrize(
    ("key", "loss"), [("aae", "autoencoder_loss"), ("vaegan", "encoder_loss"), ("vaegan", "generator_loss")]
)
def test_codes_come_back_with_the_labels_of_their_images(key, loss):
    trainer, batch = still(loop_for(key, *SMALL, "model.conditional=true", dataset=labeled()))
    told = []
    forward = trainer.generator.forward
    trainer.generator.forward = lambda z, *condition: told.append(condition) or forward(z, *condition)
    getattr(trainer, loss)(batch)
    assert told
    for (labels,) in told:
        torch.testing.assert_close(labels, batch["y"])


def test_without_labels_there_is_nothing_to_tell():
    with pytest.raises(UserError, match="learns from labels or attributes"):
        loop_for("vaegan", *SMALL, "model.conditional=true")


def test_a_conditional_generator_is_told_the_labels():
    loop = loop_for(
        *("encoder_regression", "model.gan=cgan", "model.gan_settings.width=2", "model.width=2"), dataset=labeled()
    )
    loop.advance()
    assert len(loop.trainer.networks["generator"].signature.inputs) == 2
    assert len(loop.trainer.networks["encoder"].signature.inputs) == 1


def test_a_model_without_a_latent_gets_no_encoder():
    with pytest.raises(UserError, match="cyclegan has no generator"):
        loop_for("encoder_regression", "model.gan=cyclegan")


def test_an_encoder_for_a_finished_run(cli, tmp_path):
    """The generator stays to the last bit what it was, and the new run is used where the first is gone."""
    small = ("--set", "model.width=2", "--set", "batch_size=4", "-q")
    assert cli("train", "-p", "dcgan", "--steps", 3, *small, "--out", "first", "--set", "model.latent_dim=7").code == 0
    (first,) = (tmp_path / "first").iterdir()
    code = cli("train", "-p", "encoder_regression", "--generator", first, "--steps", 3, *small, "--out", "second").code
    assert code == 0
    (second,) = (tmp_path / "second").iterdir()
    config = Run.open(second).config(load_registry())
    assert config.model.settings.gan_settings["latent_dim"] == 7
    before, _ = Run.open(first).load(load_registry())
    shutil.rmtree(first)
    after, _ = Run.open(second).load(load_registry(), "generator")
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]), name
    encoder, _ = Run.open(second).load(load_registry(), "encoder")
    assert encoder(torch.zeros(2, 1, 28, 28)).shape == (2, 7)
    sheets = sorted(path.name for path in (second / "samples").iterdir())
    assert sheets == ["000000-encoder.png", "000000.png", "000003-encoder.png", "000003.png"]


def test_the_run_of_another_generator_is_refused(cli, tmp_path):
    small = ("--set", "model.width=2", "--set", "batch_size=4", "-q")
    assert cli("train", "-p", "dcgan", "--steps", 1, *small, "--out", "first").code == 0
    (first,) = (tmp_path / "first").iterdir()
    wrong = cli("train", "-p", "encoder_regression", "--set", f"model.generator={first}", "--steps", 1, *small)
    assert wrong.code == 2
    assert "another generator" in wrong.err
    assert cli("train", "-p", "encoder_regression", "--generator", tmp_path, "--steps", 1).code == 2
