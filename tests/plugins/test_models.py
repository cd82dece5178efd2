"""The bundled models draw what their signature says, at every size that they allow."""

import pytest
import torch
from torch import nn

from ganzoo import Image, Points, UserError, load_registry
from ganzoo.config.resolving import load_config
from ganzoo.data.dataset import DataSpec
from ganzoo.inference.sampling import draw_inputs
from ganzoo_plugins.networks.layers import AdaptiveAvgPool2d


def trainer_for(name, field, *sets):
    config = load_config(load_registry(), name, sets=sets)
    return config.build_trainer(DataSpec("made", (field,), 10))


SIZES = [(1, 28, 28), (3, 32, 32), (2, 8, 8), (3, 28, 44), (1, 64, 16)]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(
    "settings",
    [(), ("model.stem=24",), ("model.network=textbook",), ("model.network=textbook", "model.stem=24")],
    ids=["compact", "compact-stem", "textbook", "textbook-stem"],
)
def test_wgan_gp_conv_draws_any_multiple_of_four(shape, settings):
    trainer = trainer_for("wgan_gp_conv", Image(*shape, range=(0, 255)), *settings)
    images = trainer.generator(*draw_inputs(trainer.generator.signature, 3, 0))
    assert images.shape == (3, *shape)
    assert images.min() >= 0
    assert images.max() <= 1
    assert trainer.discriminator(images).shape == (3,)
    assert trainer.generator.signature.output == Image(*shape, range=(0.0, 1.0))


def test_wgan_gp_conv_refuses_other_sizes_and_points():
    with pytest.raises(UserError, match=r"multiples of 4.*30x28"):
        trainer_for("wgan_gp_conv", Image(1, 30, 28, range=(0, 255)))
    with pytest.raises(UserError, match="draws images, not points"):
        trainer_for("wgan_gp_conv", Points(2))


def test_the_textbook_preset_is_the_textbook():
    config = load_config(load_registry(), "wgan_gp_conv", preset="textbook")
    trainer = config.build_trainer(DataSpec("made", (Image(1, 28, 28, range=(0, 255)),), 10))
    assert trainer.generator.signature.inputs[0].shape == (16, 7, 7)
    assert trainer.n_critic == 5
    optimizer = trainer.optimizers["generator"]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["lr"] == 1e-4
    assert optimizer.param_groups[0]["betas"] == (0.0, 0.9)
    layers = [type(module) for module in trainer.discriminator.modules()]
    assert AdaptiveAvgPool2d in layers
    assert layers.count(nn.Linear) == 2


@pytest.mark.parametrize(
    "field", [Points(2), Points(1), Image(1, 8, 8, range=(0, 255)), Image(3, 5, 7, range=(0, 255))]
)
def test_gan_fc_draws_any_shape(field):
    trainer = trainer_for("gan_fc", field)
    samples = trainer.generator(*draw_inputs(trainer.generator.signature, 4, 0))
    assert samples.shape == (4, *field.shape)
    assert trainer.discriminator(samples).shape == (4,)


def test_critic_steps_come_from_the_loss_unless_they_are_set():
    assert trainer_for("gan_fc", Points(2)).n_critic == 1
    assert trainer_for("gan_fc", Points(2), "loss.name=wgan_gp").n_critic == 5
    assert trainer_for("gan_fc", Points(2), "loss.name=wgan_gp", "model.n_critic=2").n_critic == 2


def test_a_lazy_regularizer_is_a_phase_of_its_own_with_its_weight_scaled():
    lazy = ("loss.name=wgan_gp", "regularizer.gradient_penalty.interval=4", "regularizer.gradient_penalty.weight=3")
    trainer = trainer_for("gan_fc", Points(2), *lazy)
    phases = {phase.name: phase for phase in trainer.phases()}
    assert list(phases) == ["discriminator", "gradient_penalty", "generator"]
    assert phases["gradient_penalty"].every == 4
    assert phases["gradient_penalty"].optimizer == "discriminator"
    result = phases["gradient_penalty"].loss({"x": torch.randn(8, 2)})
    torch.testing.assert_close(result["loss"].detach(), 12 * result["penalty"])
    assert "gradient_penalty" not in trainer.discriminator_loss({"x": torch.randn(8, 2)})
