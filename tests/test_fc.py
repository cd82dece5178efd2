"""The fully connected family: what its specs and its preset resolve to, and that the preset learns."""

import pytest
import torch

from ganzoo import Image, Loop, Points, load_config, load_registry
from ganzoo.data import DataSpec
from ganzoo.sampling import draw_inputs
from ganzoo_plugins.losses.weight_clip import WeightClip

DIGIT = DataSpec("made", (Image(1, 28, 28, range=(0, 255)),), 10)


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def test_wgan_fc_is_the_papers_algorithm(registry):
    config = load_config(registry, "wgan_fc")
    assert config.loss.key == "wgan"
    assert list(config.regularizers) == ["weight_clip"]
    assert config.regularizers["weight_clip"].settings.limit == 0.01
    trainer = config.build_trainer(DIGIT)
    assert trainer.n_critic == 5
    for optimizer in trainer.optimizers.values():
        assert isinstance(optimizer, torch.optim.RMSprop)
        assert optimizer.param_groups[0]["lr"] == 5e-5
        assert optimizer.param_groups[0]["momentum"] == 0


def test_wgan_fc_clips_every_weight_of_the_critic_alone_after_each_of_its_steps(registry):
    config = load_config(registry, "wgan_fc", sets=("data.name=gaussians", "data.size=200", "batch_size=16"))
    dataset = config.build_dataset()
    trainer = config.build_trainer(dataset.spec)
    limit = next(each for each in trainer.regularizers.values() if isinstance(each, WeightClip)).config.limit
    assert max(weight.abs().max() for weight in trainer.discriminator.parameters()) > limit
    Loop(trainer, dataset, config.train).advance()
    assert max(weight.abs().max() for weight in trainer.discriminator.parameters()) <= limit
    assert max(weight.abs().max() for weight in trainer.generator.parameters()) > limit


def test_wgan_gp_fc_takes_the_papers_critic_steps_and_decays(registry):
    config = load_config(registry, "wgan_gp_fc")
    assert config.loss.key == "wgan_gp"
    assert config.regularizers["gradient_penalty"].settings.weight == 10
    trainer = config.build_trainer(DIGIT)
    assert trainer.n_critic == 5
    for optimizer in trainer.optimizers.values():
        assert isinstance(optimizer, torch.optim.Adam)
        assert optimizer.param_groups[0]["betas"] == (0.0, 0.9)
    assert not any(isinstance(module, torch.nn.LayerNorm) for module in trainer.discriminator.modules())


@pytest.mark.parametrize("key", ["wgan_fc", "wgan_gp_fc"])
@pytest.mark.parametrize("field", [Points(2), Image(3, 5, 7, range=(0, 255))])
def test_the_wasserstein_specs_draw_any_shape(registry, key, field):
    trainer = load_config(registry, key).build_trainer(DataSpec("made", (field,), 10))
    samples = trainer.generator(*draw_inputs(trainer.generator.signature, 4, 0))
    assert samples.shape == (4, *field.shape)
    assert trainer.discriminator(samples).shape == (4,)
